"""feature-extraction: the last hidden state of every token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..encoder import Encoder, Texts
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer
from . import TextHead, check_rank

__all__ = ["PREDICTOR", "FeatureExtractor", "FeatureHead", "open_head"]


class FeatureExtractor(Encoder):
    """feature-extraction: the last hidden state of every token."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str, pairs: str | None = None, *, truncate: bool = False, batch_size: int = 32
    ) -> NDArray[np.float32]: ...
    @overload
    def __call__(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[NDArray[np.float32]]: ...
    def __call__(
        self, texts: Texts, pairs: Texts | None = None, *, truncate: bool = False, batch_size: int = 32
    ) -> Any:
        """Per text (with its pair) float32 [tokens, hidden], special tokens included, padding left out.

        A text longer than `max_length` tokens is cut with `truncate` and refused without. At most `batch_size` texts
        run at once. Raises InputError for texts that cannot be used.
        """
        return self._answer(texts, pairs, None, truncate=truncate, batch_size=batch_size)


class FeatureHead(TextHead):
    outputs = ("last_hidden_state",)

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence", "hidden")

    def decode(self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: None) -> list[NDArray[np.float32]]:
        # Indexing with a mask copies, so that an answer does not keep its whole batch in memory.
        mask = batch.arrays["attention_mask"] != 0
        rows = zip(outputs["last_hidden_state"], mask, strict=True)
        return [states[kept].astype(np.float32, copy=False) for states, kept in rows]


PREDICTOR = FeatureExtractor


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> FeatureHead:
    """The head of feature-extraction, which has no settings."""
    return FeatureHead()
