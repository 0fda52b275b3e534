"""The document of a measurement: what `--json` writes, what the page shows, and what `--compare` reads."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.bundle import Bundle
from ...runtime.cache import find_engines
from ...runtime.errors import PlanError
from ...runtime.latency import compare_turns
from ...runtime.manifest import EngineFile
from .machine import describe_noise
from .measurements import Measurements

__all__ = ["FORMAT", "describe", "read_document"]

FORMAT = 1

_NO_DIFFERENCE = "no difference"


def describe(found: Measurements) -> dict[str, Any]:
    """JSON-ready: cells with their ratio to the baseline's, and whether that is a difference at all."""
    from ... import __version__

    plan = found.plan
    baseline = _find_baseline(found)
    cells = [_judge(cell, found.cells, baseline) for cell in found.cells]
    return {
        "format": FORMAT,
        "bvx": __version__,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "complete": found.complete,
        "asked": {
            "bundles": list(plan.bundles),
            "shapes": [list(shape) for shape in plan.shapes],
            "threads": list(plan.threads),
            "rounds": plan.rounds,
            "minutes": plan.minutes,
            "against": list(plan.against),
            "pinned": plan.pin,
        },
        "baseline": baseline,
        "machine": {
            **{name: value for name, value in found.machine.items() if name != "steal"},
            "noise": describe_noise(found.yardstick.times, found.machine, found.cells),
        },
        "contenders": found.contenders,
        "cells": cells,
        "texts": found.texts,
        "concurrency": found.concurrency,
        **_read_bundles(plan.bundles),
    }


def read_document(path: Path) -> dict[str, Any]:
    """The document in a file that `bvx bench --json` wrote. Raises PlanError for anything else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror}.", "Name a file that `bvx bench` wrote.") from error
    except ValueError as error:
        raise PlanError(f"{path} is no JSON.", "Name a file that `bvx bench` wrote.") from error
    if not isinstance(document, dict) or not isinstance(document.get("cells"), list):
        raise PlanError(f"{path} is not what `bvx bench` writes.", "Name a file that `bvx bench --json FILE` wrote.")
    if document.get("format") != FORMAT:
        raise PlanError(
            f"{path} has the format {document.get('format')!r:.20}; this bvx reads {FORMAT}.",
            "Measure again with this bvx.",
        )
    return document


def _find_baseline(found: Measurements) -> str:
    """The contender that others are compared with: what was asked for, else the first other tool, else the first."""
    names = list(dict.fromkeys(cell["contender"] for cell in found.cells if "turns" in cell))
    if found.plan.baseline:
        if found.complete and found.plan.baseline not in names:
            raise PlanError(
                f"--baseline is {found.plan.baseline!r}, which was not measured.", f"Measured were: {', '.join(names)}."
            )
        return found.plan.baseline
    others = [one["contender"] for one in found.contenders if not one["ours"] and one["contender"] in names]
    return next(iter(others or names), "")


def _judge(cell: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], baseline: str) -> dict[str, Any]:
    """The cell with `ratio`, how many times faster than the baseline it is, its 95 % interval, and a verdict."""
    if "turns" not in cell:
        return dict(cell)
    same = ("threads", "batch", "length")
    other = next(
        (
            one
            for one in cells
            if one["contender"] == baseline and "turns" in one and all(one[name] == cell[name] for name in same)
        ),
        None,
    )
    if other is None or other is cell:
        return {**cell, "ratio": None, "ratio_low": None, "ratio_high": None, "verdict": "baseline" if other else ""}
    slower, low, high = compare_turns(cell["turns"], other["turns"], paired=True)
    verdict = _NO_DIFFERENCE if low <= 1 <= high else "faster" if high < 1 else "slower"
    return {**cell, "ratio": 1 / slower, "ratio_low": 1 / high, "ratio_high": 1 / low, "verdict": verdict}


def _read_bundles(paths: Sequence[str]) -> dict[str, Any]:
    """What the bundles say of themselves that belongs beside speed: parity, and accuracy where it was measured."""
    parity: list[dict[str, Any]] = []
    accuracy: list[dict[str, Any]] = []
    engines: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []
    for path in paths:
        bundle = Bundle.open(path, check_hashes=False)
        manifest = bundle.manifest
        sizes = {entry.path: entry.bytes for entry in manifest.files}
        models.append(
            {
                "model": bundle.root.name,
                "id": manifest.model.id,
                "family": manifest.family,
                "task": manifest.task,
                "parameters": manifest.model.parameters,
                "random": manifest.model.random,
                "bytes": {variant.precision: sizes.get(variant.file) for variant in manifest.variants},
            }
        )
        for key, rows in manifest.parity.items():
            parity += [{"model": bundle.root.name, "variant": key, **_pick(row)} for row in rows]
        accuracy += [{"model": bundle.root.name, "variant": key, **row} for key, row in manifest.accuracy.items()]
        engines += [_describe_engine(bundle.root.name, engine) for engine, _ in find_engines(bundle)]
    return {"models": models, "parity": parity, "accuracy": accuracy, "engines": engines}


def _describe_engine(model: str, engine: EngineFile) -> dict[str, Any]:
    """A plan inside the bundle or in this machine's cache, and what it was found to consist of."""
    return {
        "model": model,
        "variant": engine.variant,
        "engine": engine.engine,
        "version": engine.version,
        "gpus": list(engine.gpus),
        "audit": dict(engine.audit),
    }


def _pick(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("case", "output", "batch", "length", "max_abs", "cosine", "passed")}
