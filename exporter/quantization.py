"""What an export below fp32 stands on: texts are read, the canonical graph is observed on them, a recipe is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import onnx_ir as ir

from ..calibration.collect import OBSERVER, collect
from ..calibration.corpus import Sample, read_sample
from ..calibration.digits import measure_losses
from ..calibration.inputs import make_inputs
from ..calibration.quantizer import QuantizeOptions, make_recipe, thin
from ..calibration.ranges import Ranges
from ..calibration.recipe import Recipe
from ..calibration.store import FILE, check_ranges, read_ranges, write_ranges
from ..runtime.errors import CalibrationError
from ..runtime.machine import allowed_cores, describe
from ..runtime.manifest import CalibrationInfo, TokenizerInfo
from ..runtime.tokenizer import Tokenizer
from .checkpoint import Checkpoint
from .plan import ExportPlan
from .progress import Progress
from .supported import CALIBRATED, INTEGER
from .targets import CANONICAL_FILE

__all__ = ["Quantised", "choose_options", "is_reduced", "quantise"]

_PAIRS = frozenset(
    ("question-answering", "text-ranking", "multiple-choice", "sentence-order-prediction", "next-sentence-prediction")
)
"""Tasks that read two texts at a time: bvx's own come in pairs for them."""


_ROUNDED = 1024
"""Tokens that tell what rounding costs: a root mean square over them and the width of a layer hardly varies."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """What was decided: the recipe, and the texts that it came from; None where old ranges serve again.

    `ranges` are those of the canonical graph itself; the recipe's are those after smoothing, for int8 alone.
    `tradeoff` are the choices of operators in higher precision that were measured, where a budget asked for that.
    """

    recipe: Recipe
    ranges: Ranges
    sample: Sample | None
    info: CalibrationInfo
    tradeoff: tuple[Mapping[str, Any], ...] = ()

    def recipe_for(self, precision: str) -> Recipe:
        """What the lowering of a precision is to write down: only int8's weights are smoothed."""
        return self.recipe if precision.startswith("int8") else Recipe(self.ranges, {})


def quantise(
    plan: ExportPlan,
    checkpoint: Checkpoint,
    canonical: ir.Model,
    folder: Path,
    progress: Progress,
    stdin: BinaryIO | None = None,
) -> Quantised | None:
    """Calibrate, and decide how every precision below fp32 is made; None where none is asked for.

    The canonical graph and the tokenizer lie in `folder`, and the ranges will lie beside them. Raises CalibrationError
    for texts or ranges that cannot be used, BundleError for ranges that cannot be read.
    """
    if not any(precision in CALIBRATED for precision in plan.precisions):
        return None
    tokenizer, info = _open_tokenizer(checkpoint, folder)
    sample = None
    if plan.calibration.ranges is None:
        sample = _draw_sample(plan, checkpoint, progress, stdin)
        ranges = _observe(plan, folder, sample, tokenizer, info, progress)
    else:
        ranges = read_ranges(plan.calibration.ranges)
        check_ranges(ranges, canonical.graph)
    ranges = _look_at_digits(plan, canonical, ranges, sample, tokenizer, info, progress)
    write_ranges(folder / FILE, ranges)
    if not any(precision in INTEGER for precision in plan.precisions):
        return Quantised(Recipe(ranges, {}), ranges, sample, _describe(ranges, ()))
    progress.stage("quantise")
    options = choose_options(plan)
    inputs = make_inputs(sample, tokenizer, info) if sample else []
    if sample is None:
        options = replace(options, smooth="nowhere", rounding="nearest", bias=False)
    recipe = make_recipe(canonical, ranges, inputs, options)
    return Quantised(recipe, ranges, sample, _describe(ranges, _name_methods(options)))


def choose_options(plan: ExportPlan) -> QuantizeOptions:
    """What is done to keep the accuracy, as docs/precision.md found it to pay."""
    return QuantizeOptions(reduced=is_reduced(plan.calibration.reduce_range))


def _open_tokenizer(checkpoint: Checkpoint, folder: Path) -> tuple[Tokenizer, TokenizerInfo]:
    if checkpoint.tokenizer is None:
        raise CalibrationError(
            "This checkpoint has no tokenizer, so texts cannot be read to calibrate on.",
            "Put its tokenizer files beside config.json.",
        )
    return Tokenizer(folder / "tokenizer.json", checkpoint.max_length, allowed_cores()), checkpoint.tokenizer.info


def _draw_sample(plan: ExportPlan, checkpoint: Checkpoint, progress: Progress, stdin: BinaryIO | None) -> Sample:
    asked = plan.calibration
    is_paired = checkpoint.task.name in _PAIRS
    sample = read_sample(asked.texts, samples=asked.samples, seed=plan.seed, stdin=stdin, pairs=is_paired)
    for sentence in sample.warnings:
        progress.warn(sentence)
    return sample


def _observe(
    plan: ExportPlan, folder: Path, sample: Sample, tokenizer: Tokenizer, info: TokenizerInfo, progress: Progress
) -> Ranges:
    progress.stage("calibrate", len(sample.entries))
    observer = plan.calibration.observer or OBSERVER
    graph = folder / CANONICAL_FILE
    return collect(graph, sample, tokenizer, info, observer=observer, progress=progress.advance)


def _look_at_digits(
    plan: ExportPlan,
    canonical: ir.Model,
    ranges: Ranges,
    sample: Sample | None,
    tokenizer: Tokenizer,
    info: TokenizerInfo,
    progress: Progress,
) -> Ranges:
    """The ranges with what rounding costs every value, where bf16 is asked for."""
    if "bf16" not in plan.precisions or ranges.losses:
        return ranges
    if sample is None:
        progress.warn(
            "These ranges do not say what rounding to bf16 costs, so that nothing stays fp32 for it. Give texts with "
            "--calibrate to have that looked at."
        )
        return ranges
    progress.stage("digits")
    return replace(ranges, losses=measure_losses(canonical, thin(make_inputs(sample, tokenizer, info), _ROUNDED)))


def is_reduced(asked: bool | None, machine: Mapping[str, str] | None = None) -> bool:
    """Whether int8 weights stay within -64..64: as asked, or where nothing is, if this processor needs it.

    x86 before VNNI adds two products of uint8 and int8 in 16 bits, which larger weights overflow.
    """
    if asked is not None:
        return asked
    here = describe() if machine is None else machine
    return "x86_64" in here["system"] and "vnni" not in here["features"].split()


def _name_methods(options: QuantizeOptions) -> tuple[str, ...]:
    """What the manifest says was done, in words."""
    found = {
        "smoothing where it is exact": options.smooth == "exact",
        "smoothing": options.smooth == "everywhere",
        "rounding together (GPTQ)": options.rounding == "together",
        "bias correction": options.bias,
        "int8 embeddings": options.embeddings,
    }
    return tuple(name for name, is_done in found.items() if is_done)


def _describe(ranges: Ranges, methods: tuple[str, ...]) -> CalibrationInfo:
    corpus = ranges.corpus
    return CalibrationInfo(
        source=corpus.source,
        lines=corpus.lines,
        samples=corpus.samples,
        tokens=corpus.tokens,
        seed=corpus.seed,
        digest=corpus.digest,
        observer=ranges.observer,
        methods=methods,
    )
