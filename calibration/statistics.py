"""Statistics: all that a calibration keeps of its runs. Every observer's ranges can be made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import CalibrationError
from .histogram import Histogram
from .observed import Observed
from .observers import choose_bounds, find_observer
from .ranges import Corpus, Ranges

__all__ = ["Statistics"]


class Statistics:
    """Histograms, peaks and channel maxima of the tensors in `observed`, and how long the texts were.

    Its size depends on the graph alone, not on how many texts were added.
    """

    def __init__(self, observed: Observed) -> None:
        self.histograms = {name: Histogram() for name in observed.whole}
        self.peaks: dict[str, float] = dict.fromkeys(observed.extremes, 0.0)
        self.channels: dict[str, NDArray[np.float32]] = {}
        self.lengths: Counter[int] = Counter()
        self.observed = observed

    def add(self, outputs: Mapping[str, NDArray[Any]], texts: int, length: int) -> None:
        """Add what a run over `texts` texts, each of `length` tokens and none padded, gave out.

        Raises CalibrationError that names the first tensor with a value that is not finite.
        """
        for name, pair in self.observed.extremes.items():
            low, high = (float(outputs[end]) for end in pair)
            self.peaks[name] = max(self.peaks[name], _check(name, low, high, length))
        for name, histogram in self.histograms.items():
            values = outputs[name]
            rows = values.reshape(len(values), -1, values.shape[-1])
            least, most = rows.min(axis=1), rows.max(axis=1)
            _check(name, float(least.min()), float(most.max()), length)
            histogram.add(rows, least.min(axis=1), most.max(axis=1))
            if name in self.observed.inputs:
                self._add_channels(name, np.maximum(most.max(axis=0), -least.min(axis=0)))
        self.lengths[length] += texts

    def ranges(self, observer: str, corpus: Corpus) -> Ranges:
        """The ranges that `observer` chooses. Raises CalibrationError for an observer that is not known."""
        choose = find_observer(observer)
        return Ranges(
            observer=observer,
            corpus=corpus,
            bounds={name: choose_bounds(histogram, choose) for name, histogram in self.histograms.items()},
            peaks=self.peaks | {name: histogram.peak for name, histogram in self.histograms.items()},
            channels=self.channels,
            lengths=dict(sorted(self.lengths.items())),
        )

    def _add_channels(self, name: str, largest: NDArray[Any]) -> None:
        before = self.channels.get(name)
        self.channels[name] = largest if before is None else np.maximum(before, largest)


def _check(name: str, low: float, high: float, length: int) -> float:
    """The larger of the two, without their signs, which is finite."""
    peak = max(abs(low), abs(high))
    if not np.isfinite([low, high]).all():
        raise CalibrationError(
            f"{name} is {low} to {high} on a text of {length} tokens: it is not finite even in fp32.",
            "Export to fp32, and see with `bvx verify --bisect` where that comes from.",
        )
    return peak
