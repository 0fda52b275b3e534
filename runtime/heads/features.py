"""feature-extraction: the last hidden state of every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import check_rank, read_options

__all__ = ["FeatureHead", "open_head"]


@dataclass(frozen=True)
class FeatureOptions:
    """This task has no options."""


class FeatureHead:
    """Per text its last hidden state, float32 [tokens, hidden]; what was padding is left out."""

    output = "last_hidden_state"
    takes_pairs = True

    def read_options(self, given: Mapping[str, Any]) -> FeatureOptions:
        return read_options(FeatureOptions, given, "feature-extraction")

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence", "hidden")

    def check(self, tokens: Sequence[Tokens]) -> None:
        return

    def decode(self, output: NDArray[Any], batch: Batch, options: FeatureOptions) -> list[NDArray[np.float32]]:
        # Indexing with a mask copies, so that an answer does not keep its whole batch in memory.
        mask = batch.arrays["attention_mask"] != 0
        return [states[kept].astype(np.float32, copy=False) for states, kept in zip(output, mask, strict=True)]


def open_head(settings: Mapping[str, Any], tokenizer: Tokenizer) -> FeatureHead:
    """The head of feature-extraction, which has no settings."""
    return FeatureHead()
