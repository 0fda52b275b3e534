"""Every variant is compared with PyTorch through what serves it, or where that is not here, through a reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..runtime.encoder import Encoder
from ..runtime.errors import ParityFailed
from ..runtime.golden import GoldenCase, write_golden
from ..runtime.manifest import Manifest, Variant
from ..runtime.parity import ParityReport, Tolerance
from . import parity
from .checkpoint import Checkpoint
from .progress import Progress
from .variants import REFERENCE, is_served_here, open_variant

__all__ = ["GOLDEN", "prove"]

GOLDEN = "golden.safetensors"

_FEW_TOKENS = 160
"""The largest case that onnx's reference evaluator runs: it takes 50 times as long as an engine."""


def prove(
    folder: Path, manifest: Manifest, checkpoint: Checkpoint, progress: Progress
) -> tuple[Manifest, tuple[ParityReport, ...]]:
    """Check every variant of the bundle in `folder`, and write the golden values.

    A variant whose engine is not on this machine keeps the state "not-runnable-here": its numbers are checked, and
    the first load on its own engine verifies it.

    Raises ParityFailed, with the worst case, the output, the length and the layer, when any variant fails.
    """
    golden = parity.golden_cases(checkpoint, [spec.name for spec in manifest.outputs])
    reports: dict[str, ParityReport] = {}
    variants = []
    for variant in manifest.variants:
        with open_variant(folder, variant) as encoder:
            most = _FEW_TOKENS if encoder.engine.name == REFERENCE else None
            tolerance = manifest.tolerances[variant.precision]
            report = parity.check(checkpoint, encoder, tolerance, progress, most_tokens=most)
            if not report:
                raise ParityFailed(report.summary(), f"Nothing was written. {_advise(variant)}")
            golden = tuple(_add_found(case, encoder, most) for case in golden)
        reports[variant.key] = report
        variants.append(replace(variant, verified_on={"engine": report.engine, **report.machine}))
    write_golden(folder / GOLDEN, golden)
    rows = {key: tuple(row.to_dict() for row in report.rows) for key, report in reports.items()}
    tolerances = {**manifest.tolerances, **_widest(manifest, reports)}
    return replace(manifest, variants=tuple(variants), parity=rows, tolerances=tolerances), tuple(reports.values())


def _add_found(case: GoldenCase, encoder: Encoder, most: int | None) -> GoldenCase:
    """What the variant says itself, for machines that are to say the same; not for cases of more tokens than `most`."""
    if most is not None and case.inputs["input_ids"].size > most:
        return case
    return case.with_found(encoder.variant.key, encoder.run(**case.inputs))


def _advise(variant: Variant) -> str:
    if variant.precision == "fp32":
        return "Please report this with the checkpoint's name."
    if variant.precision.startswith("int8") and is_served_here(variant) and not variant.reduced:
        return "Try --reduce-range, or more and more typical texts with --calibrate."
    return "Try more and more typical texts with --calibrate, or leave this precision out."


def _widest(manifest: Manifest, reports: Mapping[str, ParityReport]) -> dict[str, Tolerance]:
    """Per precision, what a row was allowed at the most: golden values are checked on other machines by the same."""
    widest: dict[str, Tolerance] = {}
    for variant in manifest.variants:
        base = widest.get(variant.precision, manifest.tolerances[variant.precision])
        allowed = [row.tolerance for row in reports[variant.key].rows]
        widest[variant.precision] = replace(
            base,
            max_abs=max(base.max_abs, *(one.max_abs for one in allowed)),
            mean_abs=max(base.mean_abs, *(one.mean_abs for one in allowed)),
        )
    return widest
