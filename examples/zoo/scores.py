"""How right answers are: one number or two for each task, and what somebody would reach who has not read the lines."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

__all__ = ["METRICS", "Line", "read_gold", "score", "score_chance"]

Line = Mapping[str, Any]
"""A line of heldout.jsonl."""

Span = tuple[int, int]


def read_gold(task: str, line: Line) -> Any:
    """The right answer, in the form in which `score` compares it.

    A label or a word; both for pretraining-heads; the spans of replaced tokens as a set; an answer's text.
    """
    if task == "pretraining-heads":
        return line["target"], line["label"]
    if task == "replaced-token-detection":
        return frozenset((start, end) for start, end in line["replaced"])
    if task == "question-answering":
        return line["answers"]["text"][0]
    return line["target" if task == "fill-mask" else "label"]


def score(task: str, golds: Sequence[Any], answers: Sequence[Any]) -> dict[str, float]:
    """The task's metrics, each from 0 to 1, rounded to four places."""
    return {name: round(metric(golds, answers), 4) for name, metric in METRICS[task].items()}


def score_chance(task: str, golds: Sequence[Any]) -> dict[str, float]:
    """The better of two that read nothing: always the commonest answer, and the right answers in another order."""
    ((commonest, _),) = Counter(golds).most_common(1)
    mixed = list(golds)
    Random(0).shuffle(mixed)
    one, other = score(task, golds, [commonest] * len(golds)), score(task, golds, mixed)
    return {name: max(one[name], other[name]) for name in one}


def _accuracy(golds: Sequence[Any], answers: Sequence[Any]) -> float:
    return sum(gold == answer for gold, answer in zip(golds, answers, strict=True)) / len(golds)


def _part(index: int) -> Callable[[Sequence[Any], Sequence[Any]], float]:
    def accuracy(golds: Sequence[Any], answers: Sequence[Any]) -> float:
        return _accuracy([gold[index] for gold in golds], [answer[index] for answer in answers])

    return accuracy


def _span_f1(golds: Sequence[frozenset[Span]], answers: Sequence[frozenset[Span]]) -> float:
    """Over the spans of all lines; only a span that is right at both ends is right."""
    right = sum(len(gold & answer) for gold, answer in zip(golds, answers, strict=True))
    return 2 * right / max(1, sum(map(len, golds)) + sum(map(len, answers)))


def _words(text: str) -> list[str]:
    """As SQuAD compares answers: lowercase, without punctuation and articles."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def _exact_match(golds: Sequence[str], answers: Sequence[str]) -> float:
    return _accuracy([_words(gold) for gold in golds], [_words(answer) for answer in answers])


def _word_f1(golds: Sequence[str], answers: Sequence[str]) -> float:
    """The mean over the lines."""
    total = 0.0
    for gold, answer in zip(map(_words, golds), map(_words, answers), strict=True):
        shared = sum((Counter(gold) & Counter(answer)).values())
        total += 2 * shared / max(1, len(gold) + len(answer))
    return total / len(golds)


METRICS: Mapping[str, Mapping[str, Callable[[Sequence[Any], Sequence[Any]], float]]] = {
    "text-classification": {"accuracy": _accuracy},
    "fill-mask": {"accuracy": _accuracy},
    "pretraining-heads": {"fill_accuracy": _part(0), "order_accuracy": _part(1)},
    "replaced-token-detection": {"f1": _span_f1},
    "question-answering": {"exact_match": _exact_match, "f1": _word_f1},
}
"""What is measured of each task."""
