"""Scores over a set of examples, each a function of which examples count: what a bootstrap asks for."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Score", "answer_exact", "answer_f1", "interval", "mean_of", "pearson_of", "ratio_of", "spearman_of"]

Score = Callable[[NDArray[np.int64]], float]
"""The score over the examples at these places, of which some may stand there twice."""

Floats = NDArray[np.float64]


def mean_of(values: ArrayLike) -> Score:
    """The mean of one value for each example [n]: accuracy, where they are 1 and 0."""
    array = np.asarray(values, np.float64)
    return lambda places: float(array[places].mean())


def ratio_of(tops: ArrayLike, bottoms: ArrayLike) -> Score:
    """The sum of `tops` [n] over that of `bottoms` [n]: F1 of 2 * right over found + wanted; 1 where none."""
    top, bottom = np.asarray(tops, np.float64), np.asarray(bottoms, np.float64)

    def score(places: NDArray[np.int64]) -> float:
        whole = float(bottom[places].sum())
        return float(top[places].sum()) / whole if whole else 1.0

    return score


def pearson_of(found: ArrayLike, wanted: ArrayLike) -> Score:
    """Pearson's correlation of `found` [n] and `wanted` [n]; 0 where either is the same throughout."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    return lambda places: _correlate(a[places], b[places])


def spearman_of(found: ArrayLike, wanted: ArrayLike) -> Score:
    """Pearson's correlation of the ranks, where equal values share the mean of theirs."""
    a, b = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    return lambda places: _correlate(_ranks(a[places]), _ranks(b[places]))


def interval(
    before: Score, after: Score, count: int, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """The interval of `after - before` over `count` examples: paired bootstrap, percentiles.

    Both are scored on the same examples, drawn with replacement. Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993, chapter 13.
    """
    draw = np.random.default_rng(seed)
    differences = []
    for _ in range(resamples):
        places = draw.integers(0, count, count)
        differences.append(after(places) - before(places))
    low, high = np.quantile(differences, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def answer_exact(found: str, wanted: Sequence[str]) -> float:
    """1 where `found` reads as one of the right answers, as SQuAD's evaluate-v2.0.py compares them; none is ""."""
    return max(float(_plain(found) == _plain(answer)) for answer in _answers(wanted))


def answer_f1(found: str, wanted: Sequence[str]) -> float:
    """The F1 of the words of `found` with those of the right answer that is nearest, as in evaluate-v2.0.py."""
    return max(_words_f1(_plain(found).split(), _plain(answer).split()) for answer in _answers(wanted))


def _answers(wanted: Sequence[str]) -> Sequence[str]:
    # The script drops answers of nothing but articles and punctuation, and has "" where none is left.
    return [answer for answer in wanted if _plain(answer)] or [""]


def _plain(answer: str) -> str:
    bare = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _words_f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    shared = (Counter(found) & Counter(wanted)).total()
    return 2 * shared / (len(found) + len(wanted))


def _correlate(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def _ranks(values: Floats) -> Floats:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks: Floats = (last - (counts - 1) / 2)[place]
    return ranks
