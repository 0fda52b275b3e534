"""Weights as int8, rounded to the nearest: what every better rounding is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recipe import QuantizedWeight

__all__ = ["FULL", "REDUCED", "limit", "quantize_weight", "restore"]

FULL = 127
"""Never -128: a range that is symmetric needs no zero point."""

REDUCED = 64
"""255 * 64 * 2 stays below 2^15, where pmaddubsw adds two products (Intel SDM, volume 2) in 16 bits."""


def limit(reduced: bool) -> int:
    """The largest absolute value of an int8 weight."""
    return REDUCED if reduced else FULL


def quantize_weight(weight: NDArray[Any], axis: int, reduced: bool = False) -> QuantizedWeight:
    """Symmetric int8 with one scale for each index of `axis`, the largest absolute value there over `limit(reduced)`.

    `weight` is a float matrix. A channel of nothing but zeros gets the scale 1, and so does one whose scale would
    be no normal float32: what is that small is zero to every sum that it is part of.
    """
    matrix = np.asarray(weight, np.float32)
    channels = np.moveaxis(matrix, axis, 0).reshape(matrix.shape[axis], -1)
    scales = (np.abs(channels).max(axis=1, initial=0.0) / limit(reduced)).astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    values = np.rint(matrix / _along(scales, axis, matrix.ndim)).astype(np.int8)
    return QuantizedWeight(values, scales, axis)


def restore(weight: QuantizedWeight) -> NDArray[np.float32]:
    """The float32 weight that the int8 one stands for."""
    scales = _along(weight.scales, weight.axis, weight.values.ndim)
    return np.asarray(weight.values.astype(np.float32) * scales, np.float32)


def _along(scales: NDArray[Any], axis: int, rank: int) -> NDArray[Any]:
    return scales.reshape([-1 if index == axis else 1 for index in range(rank)])
