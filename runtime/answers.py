"""What the tasks answer, as plain dictionaries: keys and meanings are transformers' where it has a pipeline.

`start` and `end` count characters of the text that was given: `text[start:end]`. A `score` is a probability unless
said otherwise.
"""

from __future__ import annotations

from typing import TypedDict

__all__ = [
    "AnswerSpan",
    "Choice",
    "EntityGroup",
    "Filling",
    "Fillings",
    "LabelScore",
    "PretrainingAnswer",
    "Ranked",
    "ReplacedToken",
    "TokenLabel",
]


class LabelScore(TypedDict):
    """text-classification: a label and how much it applies, the bare logit where no function is applied."""

    label: str
    score: float


class TokenLabel(TypedDict):
    """token-classification without aggregation: one token's label. `index` counts tokens, special ones included."""

    entity: str
    score: float
    index: int
    word: str
    start: int
    end: int


class EntityGroup(TypedDict):
    """token-classification with aggregation: one entity, of a word or several."""

    entity_group: str
    score: float
    word: str
    start: int
    end: int


class AnswerSpan(TypedDict):
    """question-answering: a part of the context. That there is no answer is the empty text, from 0 to 0."""

    score: float
    start: int
    end: int
    answer: str


class Choice(TypedDict):
    """multiple-choice: one of the choices, its place among those given, and how likely it is the right one."""

    index: int
    score: float
    text: str


class Filling(TypedDict):
    """fill-mask: one token for a mask, its id, how it reads alone, and the text with it in the mask's place."""

    score: float
    token: int
    token_str: str
    sequence: str


Fillings = list[Filling] | list[list[Filling]]
"""For one mask its fillings, the best first; for several one such list for each of them, in their order."""


class Ranked(TypedDict):
    """text-ranking: a document's place among those given, its score for the query, and the document.

    The score is a probability, or the bare logit, as the checkpoint says.
    """

    index: int
    score: float
    text: str


class ReplacedToken(TypedDict):
    """replaced-token-detection: how likely a token is not what stood there. `index` counts special tokens too."""

    index: int
    score: float
    word: str
    start: int
    end: int


class PretrainingAnswer(TypedDict):
    """pretraining-heads: a list of fillings for each mask, and what the model says of the pair, the likelier first."""

    fillings: list[list[Filling]]
    pair: list[LabelScore]
