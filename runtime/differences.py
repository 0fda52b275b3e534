"""How far two arrays are apart, as fractions of the scale of what was expected. docs/bundle.md gives the formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOTHING_AGREES", "SCALE_FLOOR", "Differences", "measure", "scale_of"]

SCALE_FLOOR = 1e-3
"""The least scale that differences are taken as a fraction of.

Below it an output is zero for all that a service can see, and fp32 rounding of the values that led to it (about 1 in
every family, so 1e-7) would look like a large difference.
"""

_FEW = 64
"""Values of which an output's scale cannot be told: the two logits of one text may both be near zero by chance."""

_SMALL = 0.25
"""The share of its scale below which an output of few values is near zero by chance."""

_BLOCK = 2**20
"""Values compared at once: a masked-language model's logits would otherwise be copied whole into float64."""


@dataclass(frozen=True)
class Differences:
    """Two equally shaped outputs, measured. `max_abs` and `mean_abs` are fractions of the scale."""

    max_abs: float
    mean_abs: float
    cosine: float
    argmax: float = 1.0


NOTHING_AGREES = Differences(max_abs=math.inf, mean_abs=math.inf, cosine=0.0, argmax=0.0)


def scale_of(reference: NDArray[Any], typical: float = 0.0) -> float:
    """The root mean square of the finite values, at least SCALE_FLOOR, and of fewer than 64 values at least `typical`.

    `typical` is the scale of the same output where it has more values.
    """
    total, count = 0.0, 0
    flat = reference.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        finite = block[np.isfinite(block)]
        total += float(finite @ finite)
        count += finite.size
    least = max(SCALE_FLOOR, typical) if reference.size < _FEW else SCALE_FLOOR
    return max(math.sqrt(total / count) if count else 0.0, least)


def measure(reference: NDArray[Any], found: NDArray[Any], scale: float, tie: float | None = None) -> Differences:
    """The differences of two arrays of equal shape with at least one value, as `compare` defines them.

    With `tie` None the argmax is not looked at. Values are compared in float64, a block at a time.
    """
    width = reference.shape[-1] if reference.ndim else 1
    rows, others = reference.reshape(-1, width), found.reshape(-1, width)
    step = max(1, _BLOCK // width)
    largest = total = dot = left = right = 0.0
    agreed = 0
    for start in range(0, len(rows), step):
        a = rows[start : start + step].astype(np.float64)
        b = others[start : start + step].astype(np.float64)
        if tie is not None:
            agreed += int(_agreeing(a, b, tie).sum())
        difference, a, b = _difference(a, b)
        largest = max(largest, float(difference.max()))
        total += float(difference.sum())
        dot += float(np.vdot(a, b))
        left += float(np.vdot(a, a))
        right += float(np.vdot(b, b))
    # The direction of an output that is all but zero, for its scale, is noise; its differences still count.
    is_zero = math.sqrt(left / reference.size) < max(SCALE_FLOOR, _SMALL * scale)
    norm = math.sqrt(left) * math.sqrt(right)
    return Differences(
        max_abs=largest / scale,
        mean_abs=total / reference.size / scale,
        cosine=1.0 if is_zero else min(1.0, dot / norm) if norm else 0.0,
        argmax=1.0 if tie is None else agreed / len(rows),
    )


def _agreeing(reference: NDArray[np.float64], found: NDArray[np.float64], tie: float) -> NDArray[np.bool_]:
    """Per row: whether `found` has its largest entry where `reference` has its own, or one that ties with it."""
    if reference.shape[1] < 2:
        return np.ones(len(reference), dtype=bool)
    best, chosen = reference.argmax(axis=1), found.argmax(axis=1)
    row = np.arange(len(reference))
    with np.errstate(invalid="ignore"):
        near = reference[row, best] - reference[row, chosen] <= tie
    agreeing: NDArray[np.bool_] = (best == chosen) | near
    return agreeing


def _difference(
    reference: NDArray[np.float64], found: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Absolute differences, and both blocks with what is not finite set to 0 so that sums stay numbers."""
    plain = np.isfinite(reference) & np.isfinite(found)
    if plain.all():
        return np.abs(reference - found), reference, found
    same = (reference == found) | (np.isnan(reference) & np.isnan(found))
    a, b = np.where(plain, reference, 0.0), np.where(plain, found, 0.0)
    return np.where(plain | same, np.abs(a - b), np.inf), a, b
