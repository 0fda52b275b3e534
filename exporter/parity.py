"""Does it still say what PyTorch said? The exported graph, on the engine that serves it, against the live model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..calibration.texts import builtin_texts
from ..runtime.encoder import Encoder
from ..runtime.errors import BvxError
from ..runtime.golden import GoldenCase, sample_case
from ..runtime.machine import describe
from ..runtime.parity import ParityReport, ParityRow, Tolerance, compare
from .bisect import Divergence, ModuleCall, first_divergence
from .cases import Case, make_cases
from .checkpoint import Checkpoint
from .progress import Progress, Silent

__all__ = ["add_found", "cases_for", "check", "find_divergence", "golden_cases", "record_modules", "reference"]

_GOLDEN = ("text alone", "pairs of texts, padded left and right", "fully masked rows", "two tokens", "longest")
"""The cases whose answers are kept in the bundle: one for each thing that another machine may do otherwise."""

Arrays = Mapping[str, NDArray[Any]]


def check(
    checkpoint: Checkpoint, encoder: Encoder, tolerance: Tolerance, progress: Progress | None = None
) -> ParityReport:
    """Run every case through `encoder` and through the checkpoint's model, and compare every output.

    A text that stands in a batch with longer ones is compared with the same text alone, in PyTorch and in the encoder.
    One case is held in memory at a time. On failure the report's `diverged_at` is the first layer that differs.
    """
    progress = progress or Silent()
    cases = cases_for(checkpoint, encoder)
    outputs = tuple(spec.name for spec in encoder.manifest.outputs)
    progress.stage("Parity", len(cases))
    rows: list[ParityRow] = []
    alone: dict[str, tuple[Arrays, Arrays]] = {}
    needed = {case.inside.alone for case in cases if case.inside}
    for case in cases:
        found = encoder.run(**case.feeds)
        expected = reference(checkpoint.model, case.feeds, outputs)
        rows += _compare_all(case, case.name, expected, found, tolerance)
        if case.name in needed:
            alone[case.name] = expected, found
        if case.inside:
            rows += _compare_inside(case, *alone[case.inside.alone], found, tolerance)
        progress.advance(1, case.name)
    engine = f"{encoder.engine.name} {encoder.engine.version}"
    report = ParityReport(encoder.variant.key, engine, tuple(rows), describe())
    if report:
        return report
    divergence = find_divergence(checkpoint, encoder, report, tolerance, cases)
    return replace(report, diverged_at=divergence.layer if divergence else None)
