"""Scales that a narrower float type holds exactly, so that what was divided by one is multiplied by the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BF16_DIGITS", "FP16_DIGITS", "round_up"]

FP16_DIGITS, BF16_DIGITS = 11, 8
"""Binary digits of a number in either type. Rounded to 8, a scale is exact in both."""

_STEP = -24
"""Two to this is the smallest number of fp16; those below 2^-14 are multiples of it, with fewer digits."""


def round_up(scales: ArrayLike, digits: int) -> NDArray[Any]:
    """`scales` in float32, each the next number of `digits` binary digits that is not smaller.

    Up, so that the largest value lies on the grid still, and nothing becomes zero.
    """
    given = np.maximum(np.asarray(scales, np.float64), 2.0**_STEP)
    _, exponents = np.frexp(given)
    steps = np.ldexp(1.0, np.maximum(exponents - digits, _STEP))
    return np.asarray(np.ceil(given / steps) * steps, np.float32)
