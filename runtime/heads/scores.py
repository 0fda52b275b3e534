"""Logits to scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["FUNCTIONS", "Floats", "Function", "sigmoid", "softmax"]

Floats = NDArray[np.float32]
Function = Literal["softmax", "sigmoid", "none"]


def softmax(logits: Floats) -> Floats:
    """Probabilities over the last axis; float32 of the same shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def sigmoid(logits: Floats) -> Floats:
    """Each logit's own probability; float32 of the same shape."""
    # With exp of negative numbers only, which cannot overflow.
    power = np.exp(-np.abs(logits))
    scores: Floats = np.where(logits >= 0, np.float32(1), power) / (1 + power)
    return scores


def _as_they_are(logits: Floats) -> Floats:
    return logits


FUNCTIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": _as_they_are,
}
"""What may be applied to logits, by transformers' names."""
