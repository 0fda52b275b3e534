"""What an export below fp32 stands on: texts are read, the canonical graph is observed on them, a recipe is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir

from ..calibration.collect import OBSERVER, collect
from ..calibration.corpus import Sample, read_sample
from ..calibration.plain import plain_recipe
from ..calibration.ranges import Ranges
from ..calibration.recipe import Recipe
from ..calibration.store import FILE, check_ranges, read_ranges, write_ranges
from ..runtime.errors import CalibrationError
from ..runtime.machine import describe
from ..runtime.manifest import CalibrationInfo
from ..runtime.tokenizer import Tokenizer
from .checkpoint import Checkpoint
from .plan import ExportPlan
from .progress import Progress
from .supported import CALIBRATED
from .targets import CANONICAL_FILE

__all__ = ["Calibrated", "calibrate", "describe_calibration", "is_reduced", "quantise"]

_PAIRS = frozenset(
    ("question-answering", "text-ranking", "multiple-choice", "sentence-order-prediction", "next-sentence-prediction")
)
"""Tasks that read two texts at a time: bvx's own come in pairs for them."""


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The ranges of a canonical graph, and the texts that they were observed on; None where old ranges serve again."""

    ranges: Ranges
    sample: Sample | None
    tokenizer: Tokenizer | None


def quantise(
    plan: ExportPlan,
    checkpoint: Checkpoint,
    canonical: ir.Model,
    folder: Path,
    progress: Progress,
    stdin: BinaryIO | None = None,
) -> Recipe | None:
    """The recipe for every precision below fp32 that was asked for; None where there is none.

    The canonical graph lies in `folder`, and its ranges will lie beside it. Raises as `calibrate` does.
    """
    calibrated = calibrate(plan, checkpoint, folder, progress, stdin)
    if calibrated is None:
        return None
    if not any(precision.startswith("int8") or precision == "fp8" for precision in plan.precisions):
        return Recipe(calibrated.ranges, {})
    return plain_recipe(canonical.graph, calibrated.ranges, reduced=is_reduced(plan.calibration.reduce_range))


def calibrate(
    plan: ExportPlan, checkpoint: Checkpoint, folder: Path, progress: Progress, stdin: BinaryIO | None = None
) -> Calibrated | None:
    """Observe the canonical graph in `folder`, and keep the ranges beside it. None where no precision needs them.

    Raises CalibrationError for texts or ranges that cannot be used, BundleError for ranges that cannot be read.
    """
    if not any(precision in CALIBRATED for precision in plan.precisions):
        return None
    asked = plan.calibration
    graph, path = folder / CANONICAL_FILE, folder / "tokenizer.json"
    tokenizer = Tokenizer(path, checkpoint.max_length, 1) if checkpoint.tokenizer else None
    if asked.ranges is not None:
        found = read_ranges(asked.ranges)
        check_ranges(found, ir.load(graph).graph)
        write_ranges(folder / FILE, found)
        return Calibrated(found, None, tokenizer)
    if tokenizer is None or checkpoint.tokenizer is None:
        raise CalibrationError(
            "This checkpoint has no tokenizer, so texts cannot be read to calibrate on.",
            "Put its tokenizer files beside config.json, or give the ranges of another export with --ranges.",
        )
    sample = read_sample(
        asked.texts, samples=asked.samples, seed=plan.seed, stdin=stdin, pairs=checkpoint.task.name in _PAIRS
    )
    for sentence in sample.warnings:
        progress.warn(sentence)
    progress.stage("calibrate", len(sample.entries))
    ranges = collect(
        graph,
        sample,
        tokenizer,
        checkpoint.tokenizer.info,
        observer=asked.observer or OBSERVER,
        progress=progress.advance,
    )
    write_ranges(folder / FILE, ranges)
    return Calibrated(ranges, sample, tokenizer)


def is_reduced(asked: bool | None, machine: Mapping[str, str] | None = None) -> bool:
    """Whether int8 weights stay within -64..64: as asked, or where nothing is, if this processor needs it.

    x86 before VNNI adds two products of uint8 and int8 in 16 bits, which larger weights overflow.
    """
    if asked is not None:
        return asked
    here = describe() if machine is None else machine
    return "x86_64" in here["system"] and "vnni" not in here["features"].split()


def describe_calibration(ranges: Ranges, methods: tuple[str, ...]) -> CalibrationInfo:
    """What the manifest says of the ranges and of what else was done to keep the accuracy."""
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
