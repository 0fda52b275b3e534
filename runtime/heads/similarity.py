"""sentence-similarity: one vector per text, pooled and normalised as sentence-transformers does it.

Formulas: sentence_transformers/models/Pooling.py and Normalize.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import check_rank, read_options

__all__ = ["POOLINGS", "SimilarityHead", "cosine", "open_head"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class SimilarityOptions:
    """This task has no options."""


@dataclass(frozen=True)
class SimilarityHead:
    """Per text its embedding, float32 [dim].

    `pooling` names entries of POOLINGS, whose results are concatenated in that order; `normalize` scales the result to
    length 1.
    """

    pooling: tuple[str, ...]
    normalize: bool
    output = "last_hidden_state"
    takes_pairs = False

    def read_options(self, given: Mapping[str, Any]) -> SimilarityOptions:
        return read_options(SimilarityOptions, given, "sentence-similarity")

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence", "hidden")

    def check(self, tokens: Sequence[Tokens]) -> None:
        return

    def decode(self, output: NDArray[Any], batch: Batch, options: SimilarityOptions) -> list[Floats]:
        states = output.astype(np.float32, copy=False)
        mask = (batch.arrays["attention_mask"] != 0).astype(np.float32)
        pooled = [POOLINGS[name](states, mask) for name in self.pooling]
        embeddings = np.concatenate(pooled, axis=1)
        return [row.copy() for row in (_unit(embeddings) if self.normalize else embeddings)]


def open_head(settings: Mapping[str, Any], tokenizer: Tokenizer) -> SimilarityHead:
    """The head with `settings` {"pooling": ["mean"], "normalize": true}. Raises BundleError for other poolings."""
    pooling, normalize = settings.get("pooling"), settings.get("normalize", False)
    names = [pooling] if isinstance(pooling, str) else pooling
    if not isinstance(names, (list, tuple)) or not names or not all(name in tuple(POOLINGS) for name in names):
        raise BundleError(f"The bundle asks for pooling {pooling!r}; bvx knows {', '.join(POOLINGS)}.", "Upgrade bvx.")
    return SimilarityHead(tuple(names), normalize is True)


def cosine(a: Floats, b: Floats) -> Floats:
    """The cosine of every row of `a` [m, dim] with every row of `b` [n, dim]: float32 [m, n]."""
    product: Floats = _unit(a) @ _unit(b).T
    return product


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.maximum(lengths, np.float32(1e-12))  # torch.nn.functional.normalize's eps
    return unit


# Every function below takes states [batch, length, hidden] and mask [batch, length], and gives [batch, hidden].


def _weighted_sum(states: Floats, weights: Floats) -> Floats:
    summed: Floats = np.matmul(weights[:, None, :], states)[:, 0]
    return summed


def _weighted_mean(states: Floats, weights: Floats) -> Floats:
    mean: Floats = _weighted_sum(states, weights) / np.maximum(weights.sum(axis=1, keepdims=True), np.float32(1e-9))
    return mean


def _first(states: Floats, mask: Floats) -> Floats:
    # The first token that the mask keeps.
    first: Floats = states[np.arange(len(states)), mask.argmax(axis=1)]
    return first


def _last(states: Floats, mask: Floats) -> Floats:
    last: Floats = states[np.arange(len(states)), mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)]
    return last


def _max(states: Floats, mask: Floats) -> Floats:
    found: Floats = np.where(mask[:, :, None] != 0, states, np.float32(-1e9)).max(axis=1)
    return found


def _mean_sqrt_length(states: Floats, mask: Floats) -> Floats:
    scaled: Floats = _weighted_sum(states, mask) / np.sqrt(mask.sum(axis=1, keepdims=True))
    return scaled


def _position_weighted_mean(states: Floats, mask: Floats) -> Floats:
    # Weights 1, 2, 3 … from the first token on (SGPT, arXiv 2202.08904).
    return _weighted_mean(states, mask.cumsum(axis=1, dtype=np.float32) * mask)


POOLINGS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "cls": _first,
    "max": _max,
    "mean": _weighted_mean,
    "mean_sqrt_len_tokens": _mean_sqrt_length,
    "weightedmean": _position_weighted_mean,
    "lasttoken": _last,
}
"""Every pooling by sentence-transformers' name."""
