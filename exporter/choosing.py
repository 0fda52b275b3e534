"""Choosing the engine for the CPU by a short measurement on this machine: `bvx build BUNDLE --engine cpu`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..runtime.bundle import Bundle
from ..runtime.choices import Choice, engines_here, name_processor, store_choices
from ..runtime.errors import BvxError
from ..runtime.loading import load
from ..runtime.machine import allowed_cores
from ..runtime.manifest_json import to_plain
from .bench.measure import measure
from .bench.plan import BenchPlan
from .progress import Progress, Silent
from .wanted_variants import find_wanted

__all__ = ["choose_engines", "pick"]

_SHAPES = ((1, 16), (1, 128), (8, 128))
_ROUNDS, _MINUTES = 9, 1.0

_LEAST_GAIN = 1.05
"""How much faster another engine has to be than the one that the rule takes: less is within what runs differ by."""


def choose_engines(path: str, precision: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Measure every installed engine for the CPU on each of the bundle's CPU variants, and keep which is the fastest.

    On one thread and on all allowed cores, each engine in a process of its own, in turns. An engine that says other
    than PyTorch said, by the bundle's golden outputs, is not chosen. Where one engine is installed, nothing is
    measured. JSON-ready. Raises BundleError where there is no such variant, KeyboardInterrupt when interrupted.
    """
    progress = progress or Silent()
    bundle = Bundle.open(path)
    wanted = find_wanted(bundle, precision, "cpu")
    engines = engines_here()
    choices: list[Choice] = []
    place = None
    if len(engines) > 1:
        cells = _measure(bundle, tuple(engines), tuple(one.precision for one in wanted), progress)
        for key, threads in sorted({(cell["variant"], cell["threads"]) for cell in cells}):
            mine = [cell for cell in cells if (cell["variant"], cell["threads"]) == (key, threads)]
            times: dict[str, dict[str, float]] = {}
            for cell in mine:
                times.setdefault(cell["engine"], {})[f"{cell['batch']}x{cell['length']}"] = round(cell["p50"], 3)
            proven = {name: taken for name, taken in times.items() if _is_proven(bundle, mine[0], name)}
            name = pick(proven or times, tuple(engines))
            choices.append(Choice(str(bundle.root), key, threads, name, name_processor(), engines, times))
        place = store_choices(bundle, choices)
    return {
        "path": str(bundle.root),
        "engine": "cpu",
        "installed": engines,
        "choices": to_plain(choices),
        "file": str(place) if place else None,
    }


def pick(times: Mapping[str, Mapping[str, float]], order: Sequence[str]) -> str:
    """The engine with the lowest geometric mean of `times` (engine -> shape -> milliseconds), over the shapes of all.

    The first of `order` stays where no other is faster by a twentieth.
    """
    shapes = set.intersection(*(set(taken) for taken in times.values()))
    means = {
        name: math.exp(sum(math.log(taken[shape]) for shape in shapes) / max(1, len(shapes)))
        for name, taken in times.items()
    }
    first = next(name for name in order if name in times)
    best = min(means, key=means.__getitem__)
    return best if means[first] > _LEAST_GAIN * means[best] else first


def _measure(
    bundle: Bundle, engines: tuple[str, ...], precisions: tuple[str, ...], progress: Progress
) -> list[dict[str, Any]]:
    """A row for each engine, variant, number of threads and shape, with its median `p50` in milliseconds."""
    shapes = tuple(shape for shape in _SHAPES if shape[1] <= bundle.manifest.max_length)
    plan = BenchPlan(
        bundles=(str(bundle.root),),
        engines=engines,
        precisions=precisions,
        shapes=shapes or ((1, bundle.manifest.max_length),),
        threads=tuple(dict.fromkeys((1, allowed_cores()))),
        rounds=_ROUNDS,
        minutes=_MINUTES,
    )
    found = measure(plan, progress)
    if not found.complete:
        raise KeyboardInterrupt
    names = {(one["contender"], one["threads"]): one for one in found.contenders if "skipped" not in one}
    return [
        {**names[cell["contender"], cell["threads"]], **cell}
        for cell in found.cells
        if (cell["contender"], cell["threads"]) in names and "p50" in cell
    ]


def _is_proven(bundle: Bundle, cell: Mapping[str, Any], engine: str) -> bool:
    try:
        with load(bundle.root, precision=cell["precision"], engine=engine, threads=1, check_hashes=False) as model:
            return bool(model.verify())
    except BvxError:
        return False
