"""SmoothQuant: outlier channels of a linear layer's input made smaller, and the rows of its weight larger.

    x @ weight  ==  (x / vector) @ (vector * weight),     vector = max|x|^alpha / max|weight|^(1 - alpha)

channel by channel: Xiao et al., "SmoothQuant", arXiv 2211.10438, equation 4. Where a vector can go without changing
what the graph computes is said in places.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .activations import Seen
from .places import Group
from .simulation import simulate_activation, simulate_weight

__all__ = ["Smoothing", "choose_smoothing", "smoothed_bounds", "smoothing_vector"]

_ALPHAS = (0.6, 0.75, 0.9)
"""Of a grid from 0.1 to 1 no other was best for any layer of MiniLM; with 0.25 everywhere the model is lost."""

_LEAST = 1e-5
"""What a channel that is always zero counts as, as in SmoothQuant's own code."""


@dataclass(frozen=True, eq=False)
class Smoothing:
    """What serves a group best: the `vector` [in] that divides its inputs, or None where none is better.

    `error` is the mean square error of the group's outputs on the rows that were kept, and `plain` what it is
    without a vector.
    """

    vector: NDArray[np.float32] | None
    error: float
    plain: float


def smoothing_vector(peaks: NDArray[Any], weight_peaks: NDArray[Any], alpha: float) -> NDArray[np.float32]:
    """The vector [in] for the largest absolute values of an input's channels [in] and of a weight's rows [in].

    Its geometric mean is 1, so that what it divides stays in the range of its type.
    """
    exponent = alpha * np.log(np.maximum(peaks, _LEAST)) - (1 - alpha) * np.log(np.maximum(weight_peaks, _LEAST))
    vector: NDArray[np.float32] = np.exp(exponent - exponent.mean()).astype(np.float32)
    return vector


def choose_smoothing(
    group: Group,
    weights: Mapping[str, NDArray[Any]],
    seen: Mapping[str, Seen],
    bounds: Mapping[str, tuple[float, float]],
    limit: int,
    alphas: Sequence[float] = _ALPHAS,
) -> Smoothing:
    """The vector of one of `alphas`, or none, whichever has the least error at the outputs of the group's layers.

    `weights` [in, out] are those of the group by name, `seen` what was kept of its inputs, and `bounds` their ranges
    without a vector; weights are rounded to the nearest in -limit..limit. The same arguments give the same choice.
    """
    peaks = np.max([seen[name].peaks for name in group.inputs], axis=0)
    weight_peaks = np.max([np.abs(weights[name]).max(axis=1) for name in group.weights], axis=0)
    plain = _error(group, weights, seen, None, bounds, limit)
    best = Smoothing(None, plain, plain)
    for alpha in alphas:
        vector = smoothing_vector(peaks, weight_peaks, alpha)
        smoothed = {name: smoothed_bounds(seen[name], vector) for name in group.inputs}
        error = _error(group, weights, seen, vector, smoothed, limit)
        if error < best.error:
            best = Smoothing(vector, error, plain)
    return best


def smoothed_bounds(seen: Seen, vector: NDArray[Any]) -> tuple[float, float]:
    """The (low, high) of a tensor that is divided by `vector`: with no outliers left, nothing has to be clipped."""
    return float((seen.low / vector).min()), float((seen.high / vector).max())


def _error(
    group: Group,
    weights: Mapping[str, NDArray[Any]],
    seen: Mapping[str, Seen],
    vector: NDArray[Any] | None,
    bounds: Mapping[str, tuple[float, float]],
    limit: int,
) -> float:
    divisor = np.ones(1, np.float32) if vector is None else vector
    rounded = {name: simulate_weight(weights[name] * divisor[:, None], limit) for name in group.weights}
    inputs = {name: simulate_activation(seen[name].rows / divisor, bounds[name]) for name in group.inputs}
    total = 0.0
    for linear in group.linears:
        wanted = seen[linear.input].rows @ weights[linear.weight]
        total += float(np.square(inputs[linear.input] @ rounded[linear.weight] - wanted).mean())
    return total
