"""The inputs that parity is checked on: real text and random ids, in every shape that has ever gone wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..runtime.tokenizer import Tokenizer, Tokens

__all__ = ["Case", "Inside", "make_cases"]

_USUAL = 32
"""Tokens in a text of the ordinary cases. Only one case is as long as the model allows: at 512 tokens a batch of eight
would take longer than all other cases together, and find nothing that one row does not."""

Arrays = dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Inside:
    """Row `row` of a batch begins with the `length` tokens that are the whole of the case called `alone`."""

    alone: str
    row: int
    length: int


@dataclass(frozen=True, eq=False)
class Case:
    """One batch: its inputs (int64 [batch, length]), and which text in it is also run alone."""

    name: str
    feeds: Mapping[str, NDArray[np.int64]]
    inside: Inside | None = None


@dataclass(frozen=True, eq=False)
class _Row:
    """One unpadded text: its ids and token types."""

    ids: NDArray[np.int64]
    types: NDArray[np.int64]


def make_cases(
    tokenizer: Tokenizer | None,
    texts: Sequence[str],
    inputs: Sequence[str],
    limits: Mapping[str, int],
    pad_id: int,
    max_length: int,
    seed: int = 0,
) -> tuple[Case, ...]:
    """The cases for a model with these `inputs`, whose values lie below `limits`; some thousand tokens in all.

    Without a `tokenizer` the texts are random ids too. A case that is run alone comes before the batch that holds it.
    Padding has `pad_id`; random ids avoid it where they are not padding, since RoBERTa counts positions by it.
    """
    draw = _Draw(limits, pad_id, max_length, np.random.default_rng(seed))
    singles, pairs = _read(tokenizer, texts, draw)
    lay = _Layout(tuple(inputs), pad_id)
    alone, company = singles[0], _longer_than(singles[0], singles[1:], draw)
    middle = lay.batch([draw.row(9), draw.row(9)])
    middle["input_ids"][0, 3 : min(5, max_length)] = pad_id
    return (
        Case("text alone", lay.batch([alone])),
        Case(
            "text in a batch of eight",
            lay.batch([*company[:3], alone, *company[3:7]]),
            Inside("text alone", 3, len(alone.ids)),
        ),
        Case("pairs of texts, padded left and right", lay.batch(pairs[:3], left={1})),
        Case("one token", lay.batch([draw.row(1)])),
        Case("two tokens", lay.batch([draw.row(2) for _ in range(3)])),
        Case("seven rows, padded left and right", lay.batch([draw.row(13 - 2 * i) for i in range(7)], left={1, 3, 6})),
        Case("fully masked rows", _masked(lay, [draw.row(11), draw.row(11), draw.row(4)], pad_id)),
        Case("padding ids amid the text", middle),
        Case("longest", lay.batch([draw.row(max_length)])),
    )


class _Draw:
    """Draws random rows. Token types take both values where the model has several."""

    def __init__(self, limits: Mapping[str, int], pad_id: int, longest: int, random: np.random.Generator) -> None:
        self.vocabulary = limits["input_ids"]
        self.types = limits.get("token_type_ids", 1)
        self.pad_id = pad_id
        self.longest = longest
        self.random = random

    def row(self, length: int) -> _Row:
        length = max(1, min(length, self.longest))
        ids = self.random.integers(0, self.vocabulary - 1, length)
        ids += ids >= self.pad_id
        return _Row(ids, self.random.integers(0, self.types, length))


@dataclass(frozen=True)
class _Layout:
    """Lays rows out as the arrays that a model takes."""

    inputs: tuple[str, ...]
    pad_id: int

    def batch(self, rows: Sequence[_Row], left: Collection[int] = ()) -> Arrays:
        """Rows padded to the longest; those numbered in `left` on the left."""
        shape = (len(rows), max(len(row.ids) for row in rows))
        arrays = {
            "input_ids": np.full(shape, self.pad_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for number, row in enumerate(rows):
            size = len(row.ids)
            place = slice(shape[1] - size, None) if number in left else slice(0, size)
            arrays["input_ids"][number, place] = row.ids
            arrays["attention_mask"][number, place] = 1
            arrays["token_type_ids"][number, place] = row.types
        return {name: arrays[name] for name in self.inputs}


def _masked(lay: _Layout, rows: Sequence[_Row], pad_id: int) -> Arrays:
    """Row 0 whole, row 1 masked though it has ids, row 2 nothing but padding."""
    arrays = lay.batch(rows)
    arrays["attention_mask"][1:] = 0
    arrays["input_ids"][2] = pad_id
    return arrays


def _read(tokenizer: Tokenizer | None, texts: Sequence[str], draw: _Draw) -> tuple[list[_Row], list[_Row]]:
    """Eight single texts, the shortest first, and three pairs."""
    if tokenizer is None or len(texts) < 8:
        return [draw.row(5 + 3 * index) for index in range(8)], [draw.row(12 + 5 * index) for index in range(3)]
    chosen = texts[:: len(texts) // 8][:8]
    singles = [_row(tokens, _USUAL, draw.types) for tokens in tokenizer.encode(chosen, truncate=True)]
    both = tokenizer.encode(chosen[:3], chosen[3:6], truncate=True)
    pairs = [_row(tokens, 2 * _USUAL, draw.types) for tokens in both]
    return sorted(singles, key=lambda row: len(row.ids)), pairs


def _row(tokens: Tokens, longest: int, types: int) -> _Row:
    # A model with a single token type may come with a tokenizer that knows two.
    return _Row(tokens.ids[:longest], np.minimum(tokens.type_ids[:longest], types - 1))


def _longer_than(alone: _Row, others: Sequence[_Row], draw: _Draw) -> list[_Row]:
    """Seven rows, the first of which is longer than `alone`: a batch without padding would show nothing."""
    rows = [draw.row(len(alone.ids) + 6), *others]
    return [*rows[:7], *(draw.row(8) for _ in range(7 - len(rows)))]
