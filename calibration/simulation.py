"""What int8 makes of numbers, in float32: for searches and corrections that need no engine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["simulate_activation", "simulate_weight"]


def simulate_activation(values: NDArray[Any], bounds: tuple[float, float]) -> NDArray[np.float32]:
    """`values` after QuantizeLinear to uint8 and back, for a range (low, high) that is widened to hold zero."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = np.float32((high - low) / 255 or 1.0)
    zero = np.rint(np.float32(-low) / scale)
    found: NDArray[np.float32] = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return found


def simulate_weight(weight: NDArray[Any], limit: int) -> NDArray[np.float32]:
    """A weight [in, out] rounded to the nearest integers in -limit..limit with a scale for each output, and back."""
    largest = np.abs(weight).max(axis=0)
    scales = np.where(largest > 0, largest / limit, 1.0).astype(np.float32)
    found: NDArray[np.float32] = np.rint(weight / scales) * scales
    return found
