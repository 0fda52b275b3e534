"""Tokens with their labels' scores to entities, as transformers' TokenClassificationPipeline aggregates them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from ..answers import EntityGroup, TokenLabel
from .pieces import Piece
from .scores import Floats

__all__ = ["GroupingStrategy", "Strategy", "find_entities", "label_pieces", "merge_windows"]

GroupingStrategy = Literal["simple", "first", "average", "max"]
Strategy = Literal["none", "simple", "first", "average", "max"]

Join = Callable[[Sequence[str]], str]
"""Makes a text of tokens."""

Span = tuple[int, int]
"""From which one on, and up to which."""


def label_pieces(
    pieces: Sequence[Piece], scores: Floats, labels: Sequence[str], ignored: Collection[str]
) -> list[TokenLabel]:
    """Each piece with its best label, but for those in `ignored`; `scores` are [pieces, labels]."""
    return [
        {
            "entity": labels[best],
            "score": float(row[best]),
            "index": piece.index,
            "word": piece.word,
            "start": piece.start,
            "end": piece.end,
        }
        for piece, row, best in zip(pieces, scores, scores.argmax(axis=-1).tolist(), strict=True)
        if labels[best] not in ignored
    ]


def find_entities(
    pieces: Sequence[Piece],
    scores: Floats,
    labels: Sequence[str],
    ignored: Collection[str],
    strategy: GroupingStrategy,
    join: Join,
) -> list[EntityGroup]:
    """Neighbours of one label, B- and I- taken off, as one entity, but for those in `ignored`.

    `scores` are [pieces, labels]. With "simple" neighbours are pieces, otherwise words, whose label is that of their
    first piece, of their surest one, or the best of all their pieces' mean. A label with B- begins another entity.
    """
    words = list(_find_words(pieces, by_piece=strategy == "simple"))
    if not words:
        return []
    rows = _score_words(scores, words, strategy)
    names, best = [labels[number] for number in rows.argmax(axis=-1)], rows.max(axis=-1)
    found: list[EntityGroup] = []
    for first, last in _find_groups(names):
        # transformers names an entity by what follows the first hyphen, whatever stands before it.
        name = names[first].split("-", 1)[-1]
        if name in ignored:
            continue
        begin, end = words[first][0], words[last - 1][1]
        found.append(
            {
                "entity_group": name,
                "score": float(best[first:last].mean()),
                "word": join(_read_words(pieces, words[first:last], strategy, join)),
                "start": pieces[begin].start,
                "end": pieces[end - 1].end,
            }
        )
    return found


def merge_windows(entities: Iterable[EntityGroup]) -> list[EntityGroup]:
    """The entities of overlapping windows, by their beginnings; of two that overlap the longer, or else the surer one.

    As transformers' aggregate_overlapping_entities, which compares the first one with itself as well: one of no
    characters, with which nothing overlaps, comes twice there and here.
    """
    ordered = sorted(entities, key=lambda entity: entity["start"])
    found = ordered[:1]
    for entity in ordered:
        last = found[-1]
        if not last["start"] <= entity["start"] < last["end"]:
            found.append(entity)
        elif (entity["end"] - entity["start"], entity["score"]) > (last["end"] - last["start"], last["score"]):
            found[-1] = entity
    return found


def _find_words(pieces: Sequence[Piece], *, by_piece: bool) -> Iterator[Span]:
    """The pieces of each word, or with `by_piece` each piece as if it were one."""
    begins = [number for number, piece in enumerate(pieces) if by_piece or not number or not piece.continues]
    return pairwise([*begins, len(pieces)])


def _score_words(scores: Floats, words: Sequence[Span], strategy: GroupingStrategy) -> Floats:
    """Of `scores` [pieces, labels] those of each word, [words, labels]."""
    begins, ends = np.array(words).T
    if strategy == "average":
        means: Floats = np.add.reduceat(scores, begins, axis=0) / (ends - begins).astype(np.float32)[:, None]
        return means
    if strategy == "max":
        best = scores.max(axis=-1)
        begins = np.array([begin + best[begin:end].argmax() for begin, end in words])
    chosen: Floats = scores[begins]
    return chosen


def _find_groups(names: Sequence[str]) -> Iterator[Span]:
    """The words of each entity, by their labels."""
    tags = [name[2:] if name.startswith(("B-", "I-")) else name for name in names]
    begins = [
        number
        for number, name in enumerate(names)
        if not number or name.startswith("B-") or tags[number] != tags[number - 1]
    ]
    return pairwise([*begins, len(names)])


def _read_words(pieces: Sequence[Piece], words: Sequence[Span], strategy: GroupingStrategy, join: Join) -> list[str]:
    """What an entity's text is made of: its tokens, or its words, which transformers joins another time."""
    spelled = [[piece.word for piece in pieces[begin:end]] for begin, end in words]
    return [word for (word,) in spelled] if strategy == "simple" else [join(word) for word in spelled]
