"""What every variant costs in accuracy and gains in speed, measured through the runtime that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..calibration.corpus import Sample
from ..calibration.evaluation.accuracy import Accuracy
from ..calibration.evaluation.judge import Judge
from ..calibration.evaluation.labelled import Labelled, read_labelled
from ..runtime.errors import AccuracyLost
from ..runtime.manifest import Manifest, Variant
from .checkpoint import Checkpoint
from .plan import ExportPlan
from .progress import Progress
from .recommendation import pick, time_variants
from .targets import CANONICAL_FILE, find_lowering
from .variants import is_served_here, open_unlisted, open_variant

__all__ = ["full_precision", "judge", "read_questions"]

_TOO_SLOW = ("bf16", "fp8")
"""Precisions that only onnx's reference evaluator runs here: minutes for what an engine does in seconds."""


def read_questions(plan: ExportPlan, checkpoint: Checkpoint) -> Labelled | None:
    """The labelled data that the plan names, for the checkpoint's task. Raises CalibrationError."""
    spec = plan.calibration.labelled
    return None if spec is None else read_labelled(spec, checkpoint.task.name, checkpoint.head)


def judge(
    plan: ExportPlan, folder: Path, manifest: Manifest, data: Labelled | Sample | None, progress: Progress
) -> Manifest:
    """The manifest with the accuracy of every variant below fp32, the speed of those that run here, and the choice.

    Raises AccuracyLost when a variant loses more than `plan.calibration.max_drop` of it.
    """
    narrow = [one for one in manifest.variants if one.precision != "fp32" and one.precision not in _TOO_SLOW]
    if not narrow:
        return manifest
    found = _measure_accuracy(folder, manifest, narrow, data, progress) if data is not None else {}
    lost = _find_lost(found, plan.calibration.max_drop)
    if lost and not plan.pick:
        raise AccuracyLost(
            f"More than {plan.calibration.max_drop:.2%} of the accuracy is lost by {'; '.join(lost.values())}. "
            "This is the best that was found.",
            "Nothing was written. Allow more with --max-drop, give more typical texts, or leave this precision out.",
        )
    progress.stage("time")
    with ExitStack() as stack:
        served = [variant for variant in manifest.variants if is_served_here(variant)]
        models = {one.key: stack.enter_context(open_variant(folder, one)) for one in served}
        latency = time_variants(models)
    choice = pick(served, {key: one["milliseconds"] for key, one in latency.items()}, lost)
    variants = manifest.variants
    if plan.pick:
        variants = tuple(sorted(variants, key=lambda one: one.key != choice))
    accuracy = {key: one.to_dict() for key, one in found.items()}
    return replace(manifest, variants=variants, accuracy=accuracy, latency=latency, recommended=choice)


def _measure_accuracy(
    folder: Path, manifest: Manifest, variants: list[Variant], data: Labelled | Sample, progress: Progress
) -> dict[str, Accuracy]:
    count = len(data.examples) if isinstance(data, Labelled) else len(data.entries)
    progress.stage("accuracy", count * (1 + len(variants)))
    with open_unlisted(folder, manifest, full_precision()) as reference:
        judged = Judge(reference, data, progress.advance)
    found = {}
    for variant in variants:
        with open_variant(folder, variant) as model:
            found[variant.key] = judged(model)
        progress.advance(0, f"{variant.key}: {found[variant.key].summary()}")
    return found


def full_precision() -> Variant:
    """The canonical graph on this machine's processor, which every bundle has."""
    lowering = find_lowering("cpu", "fp32")
    assert lowering is not None
    return Variant("fp32", "cpu", CANONICAL_FILE, "verified", engine_options=lowering.engine_options)


def _find_lost(found: Mapping[str, Accuracy], max_drop: float | None) -> dict[str, str]:
    """The variants that lost more than that, and in words how much."""
    if max_drop is None:
        return {}
    return {key: f"{key} ({one.loss:.2%}: {one.summary()})" for key, one in found.items() if one.loss > max_drop}
