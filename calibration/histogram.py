"""What passed through one tensor, in constant memory: a histogram whose bins double in width, and exact extremes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "Histogram"]

BINS = 4096
"""Bins on either side of zero. The largest value lies in the upper half of them, so that 2,048 bins or more tell the
values apart that 128 (int8) or 255 (uint8) steps will round."""

_CHUNK = 2**16
"""Values that are counted at once: what fits into a core's cache."""

_NARROWEST = 2.0**-100
"""A width whose inverse float32 can hold; whatever is smaller is as good as zero."""


class Histogram:
    """Counts of finite float values; `counts` is int64 [2 * BINS], `width` the width of every bin.

    Bin i holds the values from (i - BINS) * width up to the next. The width is a power of two, and doubles, by adding
    up neighbours, when a value lies outside: the counts depend on the values alone, not on how they were split into
    batches. `low` and `high` are the least and the largest value, `mean_low` and `mean_high` the means over the texts
    of each one's least and largest.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(2 * BINS, np.int64)
        self.width = 0.0
        self.low = math.inf
        self.high = -math.inf
        self._lows = self._highs = 0.0
        self._texts = 0

    def add(self, values: NDArray[Any], lows: NDArray[Any], highs: NDArray[Any]) -> None:
        """Count float `values` [texts, …], of which each text's least and largest are `lows` and `highs` [texts].

        Those that are not finite are for the caller to refuse.
        """
        self._lows += float(lows.sum(dtype=np.float64))
        self._highs += float(highs.sum(dtype=np.float64))
        self._texts += len(values)
        self.low, self.high = min(self.low, float(lows.min())), max(self.high, float(highs.max()))
        self._widen(self.peak)
        flat = values.reshape(-1)
        if not self.width:
            self.counts[BINS] += flat.size
            return
        for start in range(0, flat.size, _CHUNK):
            # A power of two multiplies exactly, so that no value lands in the bin beside its own.
            bins = np.floor(flat[start : start + _CHUNK] * (1 / self.width)).astype(np.int32)
            self.counts += np.bincount(bins + BINS, minlength=2 * BINS)

    @property
    def peak(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high, 0.0)

    @property
    def mean_low(self) -> float:
        return self._lows / self._texts

    @property
    def mean_high(self) -> float:
        return self._highs / self._texts

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of every bin, [2 * BINS]."""
        centres: NDArray[np.float64] = (np.arange(-BINS, BINS, dtype=np.float64) + 0.5) * self.width
        return centres

    def _widen(self, peak: float) -> None:
        """Make the bins so wide that `peak` lies inside them, in the upper half."""
        if peak == 0.0:
            return
        # The largest value must lie below the last edge, for bins are open above.
        wanted = max(2.0 ** math.frexp(peak)[1] / BINS, _NARROWEST)
        if not self.width:
            # Whatever was there before was zero, and zeros stay in the first bin above zero.
            self.width = wanted
        while self.width < wanted:
            below, above = self.counts[:BINS], self.counts[BINS:]
            merged = np.zeros_like(self.counts)
            merged[BINS // 2 : BINS] = below[0::2] + below[1::2]
            merged[BINS : BINS + BINS // 2] = above[0::2] + above[1::2]
            self.counts = merged
            self.width *= 2
