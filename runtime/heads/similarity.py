"""sentence-similarity: one vector per text, pooled and normalised as sentence-transformers does it.

Formulas: sentence_transformers/models/Pooling.py and Normalize.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..encoder import Encoder, Texts, as_list
from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer
from . import TextHead, check_rank

__all__ = ["POOLINGS", "PREDICTOR", "SentenceEmbedder", "SimilarityHead", "cosine", "open_head"]

Floats = NDArray[np.float32]


Side = Texts | NDArray[Any] | Iterable[NDArray[Any]]
"""What is compared: texts, or their embeddings."""


class SentenceEmbedder(Encoder):
    """sentence-similarity: one vector per text."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str, *, truncate: bool = False, batch_size: int = 32
    ) -> Floats: ...
    @overload
    def __call__(self, texts: Iterable[str], *, truncate: bool = False, batch_size: int = 32) -> list[Floats]: ...
    def __call__(self, texts: Texts, *, truncate: bool = False, batch_size: int = 32) -> Any:
        """Per text its embedding, float32 [dim], pooled and normalised as the checkpoint says.

        A text longer than `max_length` tokens is cut with `truncate` and refused without. At most `batch_size` texts
        run at once. Raises InputError for texts that cannot be used.
        """
        return self._answer(texts, None, None, truncate=truncate, batch_size=batch_size)

    def similarity(self, a: Side, b: Side, *, truncate: bool = False, batch_size: int = 32) -> Floats:
        """The cosine of every text or embedding of `a` with every one of `b`: float32 [len(a), len(b)].

        Embeddings are an array [n, dim], or several of [dim] as a call gives them. `truncate` and `batch_size` are
        those of a call. Raises InputError for what cannot be compared.
        """
        left, right = (self._embed(side, truncate=truncate, batch_size=batch_size) for side in (a, b))
        if left.shape[1] != right.shape[1]:
            raise InputError(
                f"The embeddings have {left.shape[1]} and {right.shape[1]} values.", "Take both from one model."
            )
        return cosine(left, right)

    def _embed(self, side: Side, *, truncate: bool, batch_size: int) -> Floats:
        if not isinstance(side, np.ndarray):
            side = as_list(side, "What is compared")
            if side and all(isinstance(item, np.ndarray) for item in side):
                try:
                    side = np.stack(side)
                except ValueError as error:
                    raise InputError(f"The embeddings differ ({error}).", "Take all of them from one model.") from error
        if not isinstance(side, np.ndarray) or side.dtype.kind not in "fiu":
            answers: list[Floats] = self._answer(list(side), None, None, truncate=truncate, batch_size=batch_size)
            if not answers:
                raise InputError("There are no texts to compare.", "Give at least one on each side.")
            return np.stack(answers)
        if side.ndim not in (1, 2):
            raise InputError(f"The embeddings have {side.ndim} dimensions.", "Give them as [n, dim].")
        return np.atleast_2d(side).astype(np.float32, copy=False)


@dataclass(frozen=True)
class SimilarityHead(TextHead):
    """One vector per text.

    `pooling` names entries of POOLINGS, whose results are concatenated in that order; `normalize` scales the result to
    length 1.
    """

    pooling: tuple[str, ...]
    normalize: bool
    outputs = ("last_hidden_state",)
    seconds = "none"

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence", "hidden")

    def decode(self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: None) -> list[Floats]:
        states = outputs["last_hidden_state"].astype(np.float32, copy=False)
        mask = (batch.arrays["attention_mask"] != 0).astype(np.float32)
        pooled = [POOLINGS[name](states, mask) for name in self.pooling]
        embeddings = np.concatenate(pooled, axis=1)
        return [row.copy() for row in (_unit(embeddings) if self.normalize else embeddings)]


PREDICTOR = SentenceEmbedder


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> SimilarityHead:
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
