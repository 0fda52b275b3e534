"""Ranges: what calibration saw of every tensor that may be quantised, and where the texts came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

__all__ = ["Corpus", "Ranges"]


@dataclass(frozen=True)
class Corpus:
    """Where the texts came from: `source` is a file's name, "stdin" or "builtin".

    `samples` were drawn with `seed` from `lines` usable texts and are `tokens` tokens long in all; `digest` is the
    SHA-256 of the drawn texts in order, each followed by a NUL byte (a pair's two texts by one each).
    """

    source: str
    lines: int
    samples: int
    tokens: int
    seed: int
    digest: str


@dataclass(frozen=True, eq=False)
class Ranges:
    """What one calibration saw, by the names that tensors have in the canonical graph. All numbers are float32.

    `bounds` are the (low, high) that the observer called `observer` chose; `peaks` the largest absolute value;
    `channels` the largest absolute value of every channel, [width] of the tensor's last axis, for the inputs of
    linear layers; `lengths` is how many texts had each length in tokens. `losses` are what rounding a tensor
    to bf16 costs (see digits.py); empty where that was not looked at.
    """

    observer: str
    corpus: Corpus
    bounds: Mapping[str, tuple[float, float]]
    peaks: Mapping[str, float]
    channels: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    lengths: Mapping[int, int] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=dict)
