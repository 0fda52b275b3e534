"""Rounding better than to the nearest: a weight's integers chosen together, so that their errors cancel at the output.

For a linear layer with inputs X, the error |X W - X W'|² is (W - W')ᵀ H (W - W') with H = Xᵀ X, and is made small one
input channel at a time, each taking over the errors of those before it: Frantar et al., "GPTQ", arXiv 2210.17323.
It is written here as the nearest-plane walk through the Cholesky factor of H, which gives the same integers and needs
no inverse: Chen et al., "The Geometry of LLM Quantization", arXiv 2507.18553.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["factorise", "round_together"]

_DAMPING = 0.01
"""Share of H's mean diagonal that is added to its diagonal: GPTQ's, section 3.3."""

_BLOCK = 128
"""Channels whose errors are carried over one by one; those of earlier blocks come in one product (GPTQ, step 2)."""


def round_together(
    weight: NDArray[Any], scales: NDArray[Any], factor: NDArray[Any], order: NDArray[Any], limit: int
) -> NDArray[np.int8]:
    """The integers int8 [in, out] of a weight [in, out], in -limit..limit; `factor` and `order` are factorise's.

    What channel i is rounded from is its weight plus what the channels before it left over, as far as it can take
    that over: the sum over them of R[i, j] (W - W')[j] / R[i, i].
    """
    wanted = np.asarray(weight, np.float32)[order]
    width = len(wanted)
    integers = np.empty(wanted.shape, np.float32)
    left = np.zeros_like(wanted)
    ratios = factor / np.diagonal(factor)[:, None]
    for end in range(width, 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        target = wanted[start:end] + ratios[start:end, end:] @ left[end:]
        for row in range(end - 1, start - 1, -1):
            value = target[row - start] + ratios[row, row + 1 : end] @ left[row + 1 : end]
            integers[row] = np.clip(np.rint(value / scales), -limit, limit)
            left[row] = wanted[row] - integers[row] * scales
    unsorted = np.empty(wanted.shape, np.int8)
    unsorted[order] = integers
    return unsorted


def factorise(hessian: NDArray[Any], damping: float = _DAMPING) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """R, upper triangular [in, in], with RᵀR = the damped H in the given order of its channels.

    The order puts the channels of the most energy last, where round_together begins, so that the others can take
    over their errors.
    """
    order = np.argsort(np.diagonal(hessian), kind="stable")
    mean = float(np.diagonal(hessian).mean()) or 1.0
    while True:
        damped = hessian[np.ix_(order, order)].astype(np.float32)
        damped[np.diag_indices_from(damped)] += damping * mean
        try:
            return _cholesky(damped), order
        except np.linalg.LinAlgError:
            # A few texts, or channels that outdo all others, leave less of H than float32's rounding.
            if damping >= 1:
                raise
            damping *= 10


def _cholesky(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """The upper factor, block by block: NumPy's own takes ten times as long for 3072 channels. Overwrites `matrix`."""
    width = len(matrix)
    for start in range(0, width, _BLOCK):
        end = min(start + _BLOCK, width)
        corner = np.linalg.cholesky(matrix[start:end, start:end].astype(np.float64)).T
        beside = np.linalg.inv(corner.T).astype(np.float32) @ matrix[start:end, end:]
        matrix[start:end, start:end] = corner
        matrix[start:end, end:] = beside
        matrix[end:, end:] -= beside.T @ beside
    upper: NDArray[np.float32] = np.triu(matrix)
    return upper
