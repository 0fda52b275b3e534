"""What kinds of answers there are, and which of them a model gives: the right ones are read and scored by kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...runtime.errors import CalibrationError

__all__ = ["KINDS", "Kind", "find_kind"]


@dataclass(frozen=True)
class Kind:
    """Answers that are scored alike.

    `texts` are the names of what is read, in the order in which columns are named; `gold` are the names that the right
    answer may have, the usual one first. `wanted` says in a message what every example has.
    """

    name: str
    texts: tuple[str, ...]
    gold: tuple[str, ...]
    wanted: str


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("label", ("text", "pair"), ("label", "labels"), 'a "label"'),
        Kind("labels", ("text", "pair"), ("labels", "label"), 'a list of "labels"'),
        Kind("score", ("sentence1", "sentence2"), ("score", "label"), 'a "score"'),
        Kind("choice", ("prompt", "choices"), ("label",), '"choices" and a "label"'),
        Kind("answer", ("question", "context"), ("answers", "answer"), 'a "context" and "answers"'),
        Kind("words", ("text",), ("target", "targets"), 'a "target" for its mask'),
        Kind("replaced", ("text",), ("replaced",), '"replaced" spans'),
        Kind("entities", ("text",), ("entities",), '"entities"'),
        Kind("both", ("text", "pair"), ("target",), 'a "target" for its mask and a "label"'),
    )
}

_OF_TASK: Mapping[str, str] = {
    "sentence-similarity": "score",
    "text-ranking": "score",
    "sentence-order-prediction": "label",
    "next-sentence-prediction": "label",
    "multiple-choice": "choice",
    "question-answering": "answer",
    "fill-mask": "words",
    "replaced-token-detection": "replaced",
    "token-classification": "entities",
    "pretraining-heads": "both",
}


def find_kind(task: str, head: Mapping[str, Any]) -> Kind:
    """The kind of answers that a model of `task` gives, whose manifest has this `head`.

    Raises CalibrationError for a task whose answers nothing can be right or wrong about.
    """
    if task == "text-classification":
        problem, labels = head.get("problem_type"), head.get("labels", ())
        if problem == "multi_label_classification":
            return KINDS["labels"]
        return KINDS["score" if problem == "regression" or len(labels) == 1 else "label"]
    if task not in _OF_TASK:
        known = ", ".join(["text-classification", *_OF_TASK])
        raise CalibrationError(f"No labelled data can judge {task}: it gives numbers, not answers.", f"Known: {known}.")
    return KINDS[_OF_TASK[task]]
