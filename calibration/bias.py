"""Bias correction: the mean error that quantisation makes at a linear layer's output is taken out of its bias.

    bias + mean(x) @ weight - mean(x') @ weight'

where x' and weight' are x and weight after quantisation. Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", arXiv 1906.04721, section 4.2; the means are measured, not derived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Use", "correct_bias"]


@dataclass(frozen=True, eq=False)
class Use:
    """One use of a bias: the mean input [in] of its linear layer, that after quantisation, and how many rows it had."""

    mean: NDArray[Any]
    quantised: NDArray[Any]
    count: int


def correct_bias(
    bias: NDArray[Any], weight: NDArray[Any], quantised: NDArray[Any], uses: Sequence[Use]
) -> NDArray[np.float32]:
    """The corrected bias, float32 [out], for a weight [in, out] and what quantisation made of it.

    A bias with several uses (ALBERT's) gets one correction, the mean over all rows of all uses.
    """
    counts = np.asarray([use.count for use in uses], np.float64)
    share = counts / counts.sum()
    before = share @ np.stack([use.mean for use in uses]).astype(np.float64)
    after = share @ np.stack([use.quantised for use in uses]).astype(np.float64)
    corrected: NDArray[np.float32] = (bias + before @ weight - after @ quantised).astype(np.float32)
    return corrected
