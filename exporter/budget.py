"""An int8 recipe that loses too much keeps a few operators in higher precision: the fewest that meet the budget."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from ..calibration.corpus import Sample
from ..calibration.evaluation.judge import Judge
from ..calibration.evaluation.labelled import Labelled
from ..calibration.recipe import Recipe
from ..calibration.sensitivity import Tradeoff, Trial, keep, keep_fewest, rank_operators
from ..runtime.encoder import Encoder
from ..runtime.errors import AccuracyLost
from ..runtime.manifest import Manifest, Variant
from .judgement import full_precision
from .plan import ExportPlan
from .progress import Progress
from .quantization import Quantised
from .storage import save_graph
from .targets import find_lowering
from .variants import AS_WRITTEN, open_unlisted

__all__ = ["keep_within"]

_PROBES = 16
"""Texts that every operator is looked at with alone; the choice itself is measured on all of them."""

_REASON = "to stay within the accuracy budget"


def keep_within(
    plan: ExportPlan,
    folder: Path,
    manifest: Manifest,
    canonical: ir.Model,
    quantised: Quantised | None,
    data: Labelled | Sample | None,
    progress: Progress,
) -> Quantised | None:
    """`quantised`, or where its int8 loses more than `plan.calibration.max_drop` of the accuracy, one that loses less.

    Raises AccuracyLost, with the best that was found, when no choice of operators is good enough; not where the plan
    leaves the choice of the precision to bvx, which then takes fp32.
    """
    most = plan.calibration.max_drop
    if quantised is None or most is None or data is None or "int8" not in plan.precisions:
        return quantised
    with tempfile.TemporaryDirectory(prefix="bvx-budget-") as work:
        candidates = _Candidates(folder, manifest, canonical, Path(work), plan)
        progress.stage("budget")
        with open_unlisted(folder, manifest, full_precision()) as reference:
            judge = Judge(reference, data)
            feeds = _probe(reference, data)

        def measure(recipe: Recipe) -> float:
            with candidates.open(recipe) as model:
                found = judge(model)
            progress.advance(0, f"{len(recipe.kept)} kept: {found.summary()}")
            return found.loss

        def run(recipe: Recipe) -> Mapping[str, NDArray[Any]]:
            with candidates.open(recipe) as model:
                return model.run(**feeds)

        if measure(quantised.recipe) <= most:
            return quantised
        ranked = rank_operators(canonical.graph, quantised.recipe, run, lambda node: progress.advance(0, node))
        order = [one.node for one in ranked]
        found = keep_fewest(canonical.graph, quantised.recipe, order, measure, most, _REASON)
    if not found.reached and not plan.pick:
        raise AccuracyLost(_regret(found, most), "Nothing was written. Allow more with --max-drop, or leave int8 out.")
    recipe = keep(canonical.graph, quantised.recipe, dict.fromkeys(found.best.kept, _REASON))
    return replace(quantised, recipe=recipe, tradeoff=tuple(map(_describe, found.trials)))


class _Candidates:
    """int8 graphs of recipes that may not be kept, one at a time."""

    def __init__(self, folder: Path, manifest: Manifest, canonical: ir.Model, work: Path, plan: ExportPlan) -> None:
        lowering = find_lowering("cpu", "int8")
        assert lowering is not None and lowering.rewrite is not None
        self._rewrite: Callable[..., Any] = lowering.rewrite
        options = lowering.engine_options if "cpu" in plan.targets else AS_WRITTEN
        self._variant = Variant("int8", "cpu", lowering.file, "verified", engine_options=options)
        self._folder, self._manifest, self._canonical = folder, manifest, canonical
        self._path = work / "candidate.onnx"

    def open(self, recipe: Recipe) -> Encoder:
        graph = self._canonical.clone()
        self._rewrite(graph, recipe)
        save_graph(graph, self._path)
        return open_unlisted(self._folder, self._manifest, self._variant, self._path)


def _probe(model: Encoder, data: Labelled | Sample) -> dict[str, NDArray[Any]]:
    """A batch of the first texts that will be asked."""
    entries = data.examples if isinstance(data, Labelled) else data.entries
    return model.tokenize([str(entry[0]) for entry in entries[:_PROBES]], truncate=True)


def _describe(trial: Trial) -> dict[str, Any]:
    return {
        "kept": len(trial.kept),
        "loss": round(trial.drop, 6),
        "bytes": trial.bytes,
        "int8_share": round(trial.share, 4),
    }


def _regret(found: Tradeoff, most: float) -> str:
    best = found.best
    return (
        f"int8 loses {best.drop:.2%} of the accuracy at the least, with {len(best.kept)} linear layers in fp32; "
        f"--max-drop allows {most:.2%}. {len(found.trials)} choices were measured, and this is the best that was found."
    )
