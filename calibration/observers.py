"""Observers: which range of a tensor's values its 256 steps are spent on. Each is a function of the histogram.

The bounds serve both ways to quantise: uint8 with a zero point spends its 255 steps on low to high, symmetric int8
its 127 on either side of zero on the larger of -low and high. Zero always lies inside, because it must be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import CalibrationError
from .histogram import BINS, Histogram

__all__ = ["OBSERVERS", "PERCENTILE", "Bounds", "Observer", "choose_bounds", "find_observer"]

Bounds = tuple[float, float]
Observer = Callable[[Histogram], Bounds]
Floats = NDArray[np.float64]

PERCENTILE = 99.99
"""The share of values, in per cent, that lie within the bounds of the percentile observer."""

_LEVELS = 128
"""Steps on either side of zero, as in TensorRT's entropy calibration."""

_STRIDE = 32
"""Bins between the thresholds that are tried."""

_CANDIDATES = 64
"""Bounds that are tried on either side: those between 1 and 1/64 of the largest value."""


def find_observer(name: str) -> Observer:
    """The observer called `name`. Raises CalibrationError that lists the known ones."""
    if name not in OBSERVERS:
        raise CalibrationError(f"There is no observer {name!r}.", f"Choose one of: {', '.join(OBSERVERS)}.")
    return OBSERVERS[name]


def choose_bounds(histogram: Histogram, observer: Observer) -> Bounds:
    """The float32 (low, high) that `observer` chooses: low <= 0 <= high, and not both zero.

    A tensor that was zero throughout gets (0, 1): every scale is exact for it, and this one is a number that every
    type can hold.
    """
    low, high = observer(histogram)
    low, high = float(np.float32(min(low, 0.0))), float(np.float32(max(high, 0.0)))
    return (low, high) if low < high else (0.0, 1.0)


def observe_minmax(histogram: Histogram) -> Bounds:
    """The least and the largest value that there ever was."""
    return histogram.low, histogram.high


def observe_moving_average(histogram: Histogram) -> Bounds:
    """The means, over the texts, of each text's least and largest value: one odd text does not set the range."""
    return histogram.mean_low, histogram.mean_high


def observe_percentile(histogram: Histogram) -> Bounds:
    """Bounds beyond which lie (100 - PERCENTILE) / 2 per cent of the values on either side, to the width of a bin."""
    below = histogram.counts.cumsum()
    outside = (1 - PERCENTILE / 100) / 2 * below[-1]
    first = int(np.searchsorted(below, outside, side="right"))
    last = int(np.searchsorted(below, below[-1] - outside, side="left"))
    low, high = (first - BINS) * histogram.width, (last + 1 - BINS) * histogram.width
    return max(low, histogram.low), min(high, histogram.high)


def observe_entropy(histogram: Histogram) -> Bounds:
    """The absolute value beyond which clipping changes the distribution the least: least Kullback-Leibler divergence.

    Migacz, "8-bit Inference with TensorRT", GTC 2017: of the absolute values, P is the distribution with all that lies
    beyond the threshold put into the last bin, Q the one without them, spread evenly over the non-empty bins of each
    of 128 steps. The bin at zero is left out: padding, dropout or a dead unit would decide everything.
    """
    absolute = _fold(histogram.counts)
    absolute[0] = 0.0
    best, least = BINS, np.inf
    for bins in range(_LEVELS, BINS + 1, _STRIDE):
        divergence = _divergence(absolute, bins)
        if divergence < least:
            best, least = bins, divergence
    limit = best * histogram.width
    return max(histogram.low, -limit), min(histogram.high, limit)


def observe_mse(histogram: Histogram) -> Bounds:
    """The bounds with the least mean squared error of uint8 rounding and clipping.

    One side is searched with the other held, in turns, until neither moves; that is where a full search over both
    ends too, for the error of clipping on one side does not depend on the other's, and that of rounding grows evenly.
    """
    used = np.flatnonzero(histogram.counts)
    values, counts = histogram.centres[used], histogram.counts[used].astype(np.float64)
    shares = np.arange(_CANDIDATES, 0, -1) / _CANDIDATES
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    lows, highs = low * shares, high * shares
    for _ in range(4):
        before = (low, high)
        low = min(lows, key=lambda bound: _squared_error(values, counts, float(bound), high))
        high = min(highs, key=lambda bound: _squared_error(values, counts, low, float(bound)))
        if (low, high) == before:
            break
    return float(low), float(high)


OBSERVERS: Mapping[str, Observer] = {
    "minmax": observe_minmax,
    "moving-average": observe_moving_average,
    "percentile": observe_percentile,
    "entropy": observe_entropy,
    "mse": observe_mse,
}
"""Every observer, by the name that a user gives."""


def _fold(counts: NDArray[np.int64]) -> Floats:
    """The counts of absolute values, [BINS]."""
    return (counts[BINS:] + counts[BINS - 1 :: -1]).astype(np.float64)


def _divergence(absolute: Floats, bins: int) -> float:
    """D(P || Q) in nats, of the threshold after `bins` bins."""
    kept = absolute[:bins]
    reference = kept.copy()
    reference[-1] += absolute[bins:].sum()
    total, inside = reference.sum(), kept.sum()
    if not total or not inside:
        return np.inf
    starts = np.arange(_LEVELS) * bins // _LEVELS
    filled = kept > 0
    means = np.add.reduceat(kept, starts) / np.maximum(np.add.reduceat(filled.astype(np.float64), starts), 1)
    quantised = np.where(filled, np.repeat(means, np.diff(starts, append=bins)), 0.0)
    return _relative_entropy(reference / total, quantised / inside)


def _relative_entropy(p: Floats, q: Floats) -> float:
    # What P has where Q has nothing (values clipped into an empty bin) would be infinitely far; a small floor makes it
    # far, as the reference implementations do.
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))))


def _squared_error(values: Floats, counts: Floats, low: float, high: float) -> float:
    """The summed squared error of `values` as uint8 between `low` and `high`, zero being exact."""
    if low == high:
        return np.inf
    scale = (high - low) / 255
    zero = round(-low / scale)
    steps = np.clip(np.rint(values / scale) + zero, 0, 255) - zero
    return float(np.sum(counts * (values - steps * scale) ** 2))
