"""The tokens of a text, special ones left out, as transformers' TokenClassificationPipeline reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from ..tokenizer import Tokenizer, Tokens
from .scores import Floats

__all__ = ["Piece", "ScoredTokens", "find_pieces", "find_unknown", "read_pieces"]


@dataclass(frozen=True)
class Piece:
    """A token of a text.

    `index` is its number among the tokens of its sequence, special ones included; `word` is how the vocabulary spells
    it, or the text itself where the vocabulary does not know it; it stands in text[start:end]. `continues` says
    whether it belongs to the word of the piece before it.
    """

    index: int
    word: str
    start: int
    end: int
    continues: bool


@dataclass(frozen=True, eq=False)
class ScoredTokens:
    """A sequence's tokens with their origin, and the probabilities of its pieces, float32 [pieces, …]."""

    tokens: Tokens
    scores: Floats


def find_pieces(tokens: Tokens) -> NDArray[np.int64]:
    """The numbers of the tokens that are no special ones, int64 [pieces], of `tokens` with their origin."""
    assert tokens.origin is not None
    return np.flatnonzero(tokens.origin.texts >= 0)


def read_pieces(tokenizer: Tokenizer, tokens: Tokens, text: str, unknown: int | None) -> list[Piece]:
    """The pieces of `text`, in order; `tokens` are with their origin, `unknown` is the id of an unknown word.

    Where the vocabulary marks what continues a word ("##s"), a piece does when it is spelled longer or shorter than
    its text; elsewhere, when no space stands at its beginning or before it.
    """
    assert tokens.origin is not None
    kept = find_pieces(tokens)
    ids, spans = tokens.ids[kept].tolist(), tokens.origin.offsets[kept].tolist()
    marks_words = bool(tokenizer.subword_prefix)
    found = []
    for index, number, spelled, (start, end) in zip(kept.tolist(), ids, tokenizer.tokens(ids), spans, strict=True):
        written, word = text[start:end], spelled or ""
        if number == unknown:
            found.append(Piece(index, written, start, end, continues=False))
            continue
        continues = len(word) != len(written) if marks_words else start > 0 and " " not in text[start - 1 : start + 1]
        found.append(Piece(index, word, start, end, continues))
    return found


def find_unknown(settings: Mapping[str, Any], tokenizer: Tokenizer) -> int | None:
    """The id of a manifest's `head`'s "unk_token", where it has one. Raises BundleError when it is no token."""
    token = settings.get("unk_token")
    if token is None:
        return None
    found = tokenizer.find(token) if isinstance(token, str) else None
    if found is None:
        raise BundleError(f"The bundle's unk_token is {token!r:.200}, which is no token of it.", "Export it again.")
    return found
