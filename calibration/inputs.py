"""A sample of texts as what a graph is fed: in batches without padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..runtime.feeds import pad
from ..runtime.manifest import TokenizerInfo
from ..runtime.tokenizer import Tokenizer, Tokens
from .corpus import Sample

__all__ = ["batch_evenly", "make_inputs", "tokenize_sample"]

_TOKENS = 512
"""Tokens of one batch, unless a single text has more: of every token a tensor per layer and operator is given out,
some 700 kB at the size of RoBERTa-base."""


def make_inputs(
    sample: Sample, tokenizer: Tokenizer, info: TokenizerInfo, *, max_length: int | None = None
) -> list[Mapping[str, NDArray[Any]]]:
    """Batches of input_ids, attention_mask and token_type_ids, int64 [batch, length], for every text of `sample`.

    A text longer than `max_length` tokens (None: what `tokenizer` takes) is cut. Raises InputError for a text
    without tokens.
    """
    return [pad(batch, info) for batch in batch_evenly(tokenize_sample(sample, tokenizer, max_length))]


def tokenize_sample(sample: Sample, tokenizer: Tokenizer, max_length: int | None = None) -> list[Tokens]:
    """The tokens of every entry, in any order, cut to `max_length` or to what `tokenizer` takes."""
    if max_length is not None and max_length < tokenizer.max_length:
        tokenizer = Tokenizer(tokenizer.path, max_length, tokenizer.threads)
    singles = [entry[0] for entry in sample.entries if len(entry) == 1]
    pairs = [entry for entry in sample.entries if len(entry) == 2]
    found = tokenizer.encode(singles, truncate=True)
    return found + tokenizer.encode([pair[0] for pair in pairs], [pair[1] for pair in pairs], truncate=True)


def batch_evenly(tokens: Sequence[Tokens]) -> Iterator[list[Tokens]]:
    """Texts of one length, the longest first, so that no batch has padding whose values would be counted as a text's.

    Padding is not only left out: it is not there. What does not fit into memory fails at once.
    """
    ordered = sorted(tokens, key=len, reverse=True)
    batch: list[Tokens] = []
    for one in ordered:
        if batch and (len(one) != len(batch[0]) or (len(batch) + 1) * len(one) > _TOKENS):
            yield batch
            batch = []
        batch.append(one)
    if batch:
        yield batch
