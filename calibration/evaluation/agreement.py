"""How many answers of a model are others than those of the model that it was made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .predictions import Predictions

__all__ = ["Changes", "count_changes"]

_MOST_RANKED = 2000
"""Of more examples a seeded sample is compared with one another: the pairs of 2,000 are two million."""


@dataclass(frozen=True, eq=False)
class Changes:
    """`changed` and `compared` of every example, int64 [examples]; `unit` says what was counted.

    Of orders and neighbours each example counts all that it takes part in.
    """

    changes: NDArray[np.int64]
    comparisons: NDArray[np.int64]
    unit: str

    @property
    def changed(self) -> int:
        # An order belongs to both of its examples.
        return int(self.changes.sum()) // (2 if self.unit == "orders" else 1)

    @property
    def compared(self) -> int:
        return int(self.comparisons.sum()) // (2 if self.unit == "orders" else 1)


def count_changes(before: Predictions, after: Predictions) -> Changes:
    """What changed between two models' answers to the same examples.

    Decisions are compared one by one. Values are compared by their order: of every two examples, whether the first has
    the larger value, the smaller, or the same. Vectors are compared by which other one is nearest, by cosine.
    """
    if before.vectors is not None and after.vectors is not None:
        moved = _nearest(before.vectors) != _nearest(after.vectors)
        return Changes(moved.astype(np.int64), np.ones(len(moved), np.int64), "neighbours")
    if before.values is not None and after.values is not None:
        return _count_orders(before.values, after.values)
    pairs = list(zip(before.decisions, after.decisions, strict=True))
    changes = [sum(a != b for a, b in zip(*pair, strict=True)) for pair in pairs]
    return Changes(np.array(changes, np.int64), np.array([len(old) for old, _ in pairs], np.int64), before.unit)


def _count_orders(before: NDArray[np.float64], after: NDArray[np.float64]) -> Changes:
    if len(before) > _MOST_RANKED:
        chosen = np.sort(np.random.default_rng(0).choice(len(before), _MOST_RANKED, replace=False))
        before, after = before[chosen], after[chosen]
    changes = [
        np.count_nonzero(np.sign(old - before) != np.sign(new - after)) for old, new in zip(before, after, strict=True)
    ]
    return Changes(np.array(changes, np.int64), np.full(len(before), len(before) - 1, np.int64), "orders")


def _nearest(vectors: NDArray[np.float64]) -> NDArray[np.int64]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    nearest: NDArray[np.int64] = cosines.argmax(axis=1)
    return nearest
