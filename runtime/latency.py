"""How long runs take: warmed up until they are steady, in turns, with intervals that say what the figures are worth.

Every time is in milliseconds. `turns` are runs that came right after each other: they share what else the machine did,
so that intervals are found by drawing whole turns (a block bootstrap; Efron and Tibshirani 1993, chapter 8).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LatencyReport",
    "LatencyRow",
    "WarmUp",
    "compare_turns",
    "find_interval",
    "summarise",
    "time_runs",
    "warm_up",
]

Turns = Sequence[Sequence[float]]

_WINDOW = 5
_STEADY = 0.05
_MOST_SECONDS = 5.0
_MOST_RUNS = 200

CONFIDENCE = 0.95
_DRAWS = 2000


@dataclass(frozen=True)
class WarmUp:
    """What came before the timing: the `first` run, how many `runs` in all, and whether they became `steady`.

    `typical` is the median of the last ones.
    """

    first: float
    runs: int
    steady: bool
    typical: float


@dataclass(frozen=True)
class LatencyRow:
    """One shape: percentiles, mean and standard deviation of single runs, and the median's 95 % interval."""

    batch: int
    length: int
    warm_up: int
    steady: bool
    runs: int
    first: float
    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    deviation: float
    low: float
    high: float
    texts_per_second: float
    tokens_per_second: float


@dataclass(frozen=True)
class LatencyReport:
    """One engine with one precision on `threads` threads of `device`."""

    engine: str
    device: str
    precision: str
    threads: int
    rows: tuple[LatencyRow, ...]


def warm_up(run: Callable[[], object], most_seconds: float = _MOST_SECONDS) -> WarmUp:
    """Run until the medians of the last five runs and of the five before them are within 5 %, or time is up."""
    times = time_runs(run, 1)
    end = time.perf_counter() + most_seconds
    steady = False
    while not steady and len(times) < _MOST_RUNS and time.perf_counter() < end:
        times += time_runs(run, 1)
        if len(times) > 2 * _WINDOW:
            late = statistics.median(times[-_WINDOW:])
            early = statistics.median(times[-2 * _WINDOW : -_WINDOW])
            steady = abs(late - early) <= _STEADY * early
    return WarmUp(times[0], len(times), steady, statistics.median(times[-_WINDOW:]))


def time_runs(run: Callable[[], object], count: int) -> list[float]:
    """What each of `count` runs took."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - began))
    return times


def summarise(turns: Turns, batch: int, length: int, warmed: WarmUp) -> LatencyRow:
    """The row of one shape. Percentiles are linear between runs (NumPy's own kind)."""
    runs = np.concatenate([np.asarray(turn, float) for turn in turns])
    p50, p90, p95, p99 = np.percentile(runs, (50, 90, 95, 99))
    low, high = find_interval(turns)
    per_second = 1e3 * batch / float(p50)
    return LatencyRow(
        batch=batch,
        length=length,
        warm_up=warmed.runs,
        steady=warmed.steady,
        runs=runs.size,
        first=warmed.first,
        p50=float(p50),
        p90=float(p90),
        p95=float(p95),
        p99=float(p99),
        mean=float(runs.mean()),
        deviation=float(runs.std()),
        low=low,
        high=high,
        texts_per_second=per_second,
        tokens_per_second=per_second * length,
    )


def find_interval(turns: Turns, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The interval of the median of all runs, by drawing turns with replacement."""
    return _interval(_medians(turns, _draw(len(turns), 0)), confidence)


def compare_turns(
    turns: Turns, baseline: Turns, *, paired: bool, quantile: float = 0.5, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """How many times the baseline's time `turns` took: the ratio of their quantiles, and its interval.

    `paired` says that turn by turn both ran beside each other, so that what slowed one down slowed the other too: then
    the same turns are drawn of both.
    """
    count = min(len(turns), len(baseline)) if paired else len(turns)
    drawn = _draw(count, 0)
    others = drawn if paired else _draw(len(baseline), 1)
    found = _medians(turns, drawn, quantile) / _medians(baseline, others, quantile)
    own, other = (
        np.quantile(np.concatenate([np.asarray(t, float) for t in one]), quantile) for one in (turns, baseline)
    )
    return float(own / other), *_interval(found, confidence)


def _draw(count: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, count, (_DRAWS, count))


def _medians(turns: Turns, drawn: NDArray[np.int64], quantile: float = 0.5) -> NDArray[np.float64]:
    """The quantile of the runs of each draw of turns; turns of one cell are nearly always of one length."""
    shortest = min(map(len, turns))
    table = np.array([list(turn)[:shortest] for turn in turns], float)
    picked = table[drawn].reshape(len(drawn), -1)
    found: NDArray[np.float64] = np.quantile(picked, quantile, axis=1)
    return found


def _interval(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)
