"""text-ranking: how well a text answers a query, as sentence-transformers' CrossEncoder scores it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import Ranked
from ..encoder import Encoder, Texts, as_list
from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer
from . import TextHead, check_rank
from .classification import check_top_k
from .scores import FUNCTIONS, Function

__all__ = ["PREDICTOR", "RankingHead", "Reranker", "open_head"]


class Reranker(Encoder):
    """text-ranking: a cross-encoder, which reads a query and a document together and scores them."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str, pairs: str, *, truncate: bool = False, batch_size: int = 32
    ) -> float: ...
    @overload
    def __call__(
        self, texts: Iterable[str], pairs: Iterable[str], *, truncate: bool = False, batch_size: int = 32
    ) -> list[float]: ...
    def __call__(self, texts: Texts, pairs: Texts, *, truncate: bool = False, batch_size: int = 32) -> Any:
        """The score of each query (`texts`) with its document (`pairs`): a probability, or what the checkpoint says.

        A pair longer than `max_length` tokens is cut with `truncate`, the longer text first, and refused without. At
        most `batch_size` pairs run at once. Raises InputError for texts that cannot be used.
        """
        return self._answer(texts, pairs, None, truncate=truncate, batch_size=batch_size)

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        top_k: int | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[Ranked]:
        """The documents by their score for `query`, the best first (of equals the first given); None `top_k` is all.

        The options are those of a call. Raises InputError for texts or options that cannot be used.
        """
        if top_k is not None:
            check_top_k(top_k, "or None for all documents")
        if not isinstance(query, str):
            raise InputError(f"The query is {type(query).__name__}, not str.", "Give one query at a time.")
        if isinstance(documents, str):
            raise InputError("documents is a single text.", "Give a list of texts.")
        texts = as_list(documents, "documents")
        scores = self([query] * len(texts), texts, truncate=truncate, batch_size=batch_size)
        order = sorted(range(len(texts)), key=lambda index: -scores[index])
        return [{"index": index, "score": scores[index], "text": texts[index]} for index in order[:top_k]]


@dataclass(frozen=True)
class RankingHead(TextHead):
    """`function` names the entry of FUNCTIONS that makes the score of the one logit."""

    function: str
    seconds = "needed"

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "score")
        if isinstance(spec.shape[1], int) and spec.shape[1] != 1:
            raise BundleError(
                f"The graph gives {spec.shape[1]} logits for a pair; a cross-encoder that ranks gives one.",
                "Export the model with --task text-classification.",
            )

    def decode(self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: None) -> list[float]:
        scores = FUNCTIONS[self.function](outputs["logits"].astype(np.float32, copy=False))
        return [float(score) for score in scores[:, 0]]


PREDICTOR = Reranker


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> RankingHead:
    """The head with `settings` {"function": "sigmoid" | "none"}. Raises BundleError for another function."""
    function: Function | None = settings.get("function")
    if function not in ("sigmoid", "none"):
        raise BundleError(f"The bundle makes its score by {function!r:.200}; bvx knows sigmoid, none.", "Upgrade bvx.")
    return RankingHead(function)
