"""What a bundle holds, as JSON-ready data for `bvx inspect`: nothing is run and no engine is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ..runtime.bundle import Bundle
from ..runtime.choices import find_choices
from ..runtime.external_data import external_locations
from ..runtime.manifest import Manifest, Variant
from ..runtime.parity import ParityReport
from .next_steps import list_next_steps

__all__ = ["describe", "describe_export", "describe_verification", "list_files", "summarise_engines", "summarise_rows"]


def describe(bundle: Bundle) -> dict[str, Any]:
    """Everything that bvx.json says of `bundle`, its variants with sizes in bytes and the worst parity per output."""
    manifest = bundle.manifest
    return {
        "path": str(bundle.root),
        "format": manifest.format,
        "bvx_version": manifest.bvx_version,
        "model": dataclasses.asdict(manifest.model),
        "family": manifest.family,
        "task": manifest.task,
        "head": dict(manifest.head),
        "inputs": [dataclasses.asdict(tensor) for tensor in manifest.inputs],
        "outputs": [dataclasses.asdict(tensor) for tensor in manifest.outputs],
        "max_length": manifest.max_length,
        "tokenizer": dataclasses.asdict(manifest.tokenizer) if manifest.tokenizer else None,
        "profiles": [dataclasses.asdict(profile) for profile in manifest.profiles],
        "variants": [_describe_variant(bundle, variant) for variant in manifest.variants],
        "calibration": dataclasses.asdict(manifest.calibration) if manifest.calibration else None,
        "recommended": manifest.recommended,
        "tradeoff": [dict(row) for row in manifest.tradeoff],
        "passes": {key: [dataclasses.asdict(log) for log in logs] for key, logs in manifest.passes.items()},
        "tools": dict(manifest.tools),
        "choices": [dataclasses.asdict(choice) for choice in find_choices(bundle)],
        "files": {"count": len(manifest.files), "bytes": sum(entry.bytes for entry in manifest.files)},
    }


def describe_export(path: Path, out: Path, warnings: Sequence[str]) -> dict[str, Any]:
    """The document of `bvx export`: the bundle at `path`, and under "next" what to type with `out`, as it was typed."""
    bundle = Bundle.open(path, check_hashes=False)
    return {
        **describe(bundle),
        "engines": summarise_engines(bundle),
        "warnings": list(warnings),
        "next": list_next_steps(bundle.manifest, out),
    }


def summarise_engines(bundle: Bundle) -> list[dict[str, Any]]:
    """The engines inside `bundle`, with what the audit found, but for the table of layers."""
    return [
        {**dataclasses.asdict(engine), "audit": {name: one for name, one in engine.audit.items() if name != "layers"}}
        for engine in bundle.manifest.engines
    ]


def list_files(path: Path) -> dict[str, int]:
    """Every file of the bundle at `path`, with its size in bytes; the manifest itself has no entry."""
    return {entry.path: entry.bytes for entry in Bundle.open(path, check_hashes=False).manifest.files}


def describe_verification(
    path: str, reports: Sequence[ParityReport], divergences: Sequence[Any], warnings: Sequence[str]
) -> dict[str, Any]:
    """The document of `bvx verify`: it passed when there is a report and every report did."""
    documents = [report.to_dict() for report in reports]
    return {
        "path": path,
        "passed": bool(reports) and all(reports),
        "reports": [{**document, "summary": summarise_rows(document["rows"])} for document in documents],
        "divergences": [divergence.to_dict() for divergence in divergences],
        "warnings": list(warnings),
    }


def _describe_variant(bundle: Bundle, variant: Variant) -> dict[str, Any]:
    return {
        "key": variant.key,
        "precision": variant.precision,
        "target": variant.target,
        "file": variant.file,
        "bytes": count_bytes(bundle, variant),
        "state": variant.state,
        "verified_on": dict(variant.verified_on),
        "kept": dict(variant.kept),
        "evidence": dict(variant.evidence),
        "reduced": variant.reduced,
        "batch_dependent": variant.batch_dependent,
        "accuracy": bundle.manifest.accuracy.get(variant.key),
        "latency": bundle.manifest.latency.get(variant.key),
        "parity": summarise_rows(bundle.manifest.parity.get(variant.key, ())),
    }


def count_bytes(bundle: Bundle, variant: Variant) -> int:
    """The size of a variant in bytes: its file, and the weight files that it refers to."""
    folder = PurePosixPath(variant.file).parent
    weights = {(folder / location).as_posix() for location in external_locations(bundle.path(variant.file))}
    return _bytes_of(bundle.manifest, {variant.file, *weights})


def _bytes_of(manifest: Manifest, paths: set[str]) -> int:
    return sum(entry.bytes for entry in manifest.files if entry.path in paths)


def summarise_rows(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parity rows of one variant, gathered per output: the worst of each measure.

    A number that is missing, infinite or undefined becomes None, which is worse than any number. `case`, `batch`
    and `length` are those of the largest difference.
    """
    by_output: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_output.setdefault(str(row.get("output", "")), []).append(row)
    return [_summarise_output(output, found) for output, found in by_output.items()]


def _summarise_output(output: str, rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    worst = max(rows, key=lambda row: _or(_number(row.get("max_abs")), float("inf")))
    return {
        "output": output,
        "passed": all(row.get("passed") is True for row in rows),
        "comparisons": len(rows),
        "max_abs": _number(worst.get("max_abs")),
        "mean_abs": _worst(rows, "mean_abs", largest=True),
        "cosine": _worst(rows, "cosine", largest=False),
        "argmax": _worst(rows, "argmax", largest=False),
        "allowed": worst.get("tolerance"),
        "case": worst.get("case"),
        "batch": worst.get("batch"),
        "length": worst.get("length"),
    }


def _worst(rows: list[Mapping[str, Any]], measure: str, *, largest: bool) -> float | None:
    values = [_number(row.get(measure)) for row in rows]
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return None
    return max(present) if largest else min(present)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
