"""One record of a labelled file becomes an example: what a model is asked, and the right answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from ...runtime.heads.pretraining import PAIRS
from ...runtime.heads.sentence_pairs import LABELS as PAIR_LABELS
from ..entries import PAIR_NAMES, TEXT_NAMES
from ..records import refuse
from .files import Place, Record
from .kinds import find_kind

__all__ = ["Example", "Reader"]


class Example(NamedTuple):
    """A text, what stands beside it (another, or several to choose from), and the right answer, None for none given.

    By kind, that is a label's name; a set of names; a number; the place of a choice; a list of answers; a word for each
    mask; a set of (start, end), or of (start, end, label); a pair of words and label.
    """

    text: str
    second: str | tuple[str, ...] | None = None
    gold: Any = None


class Reader:
    """Reads records for a model of `task` whose manifest has this `head`. Raises CalibrationError as find_kind does."""

    def __init__(self, task: str, head: Mapping[str, Any]) -> None:
        self.kind = find_kind(task, head)
        pair_task = PAIRS.get(head.get("pair_output", ""), task)
        self._labels = PAIR_LABELS.get(pair_task) or tuple(head.get("labels", ()))
        self._mask = head.get("mask_token")
        self._needs_second = task in _NEED_SECOND

    @property
    def names(self) -> tuple[str, ...]:
        """What columns that are named by hand stand for, the right answer last."""
        return (*self.kind.texts, self.kind.gold[0])

    @property
    def wanted(self) -> str:
        return self.kind.wanted

    def read(self, record: Record, place: Place) -> Example:
        """The example in `record`. Raises CalibrationError that says at which `place` what is missing or wrong."""
        text = _text(record, TEXT_NAMES, place)
        if text is None:
            has = ", ".join(repr(str(name)[:40]) for name in list(record)[:8])
            refuse(*place, f"it has no {TEXT_NAMES[0]!r}, but {has or 'nothing'}", f"Write one, and {self.wanted}.")
        second: str | tuple[str, ...] | None
        second = self._choices(record, place) if self.kind.name == "choice" else _text(record, PAIR_NAMES, place)
        if self._needs_second and second is None:
            refuse(*place, f"it has no {self.kind.texts[-1]!r}", "Write both texts.")
        name = next((name for name in self.kind.gold if record.get(name) is not None), None)
        if name is None and self.kind.name != "answer":
            refuse(*place, f"it has no {self.kind.gold[0]!r}", f"Every example has {self.wanted}.")
        gold = getattr(self, f"_read_{self.kind.name}")(record.get(name or ""), record, place)
        return Example(text, second, gold)

    def _choices(self, record: Record, place: Place) -> tuple[str, ...]:
        choices = record.get("choices")
        if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(one, str) for one in choices):
            refuse(*place, 'its "choices" are no list of at least two texts', 'Write "choices": ["…", "…"].')
        return tuple(choices)

    def _read_label(self, value: Any, record: Record, place: Place) -> str:
        if isinstance(value, str) and value in self._labels:
            return value
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if type(number) is not int or not 0 <= number < len(self._labels):
            why = f"its label {value!r:.60} is none of the model's: {', '.join(self._labels[:12])}"
            refuse(*place, why, "Write one of them, or its number.")
        label: str = self._labels[number]
        return label

    def _read_labels(self, value: Any, record: Record, place: Place) -> frozenset[str]:
        values = value if isinstance(value, list) else [value]
        return frozenset(self._read_label(one, record, place) for one in values)

    def _read_score(self, value: Any, record: Record, place: Place) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            refuse(*place, f"its score {value!r:.60} is no number", "Where a row has no names, name columns as :1,2,3.")
        return number

    def _read_choice(self, value: Any, record: Record, place: Place) -> int:
        count = len(record["choices"])
        if type(value) is not int or not 0 <= value < count:
            refuse(*place, f"its label {value!r:.60} is no number of a choice", f"Write one from 0 to {count - 1}.")
        return value

    def _read_answer(self, value: Any, record: Record, place: Place) -> tuple[str, ...]:
        if isinstance(value, Mapping):
            value = value.get("text")
        answers = [value] if isinstance(value, str) else [] if value is None else value
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            refuse(*place, 'its "answers" are no texts', 'Write "answers": ["…"], or [] where there is none.')
        return tuple(answer for answer in answers if answer)

    def _read_words(self, value: Any, record: Record, place: Place) -> tuple[str, ...]:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            refuse(*place, 'its "target" is no word', "Write the word behind the mask, or a list of one for each.")
        texts = [_text(record, names, place) or "" for names in (TEXT_NAMES, PAIR_NAMES)]
        masks = sum(text.count(self._mask or "") for text in texts)
        if self._mask and masks != len(words):
            refuse(*place, f"it has {masks} {self._mask} and {len(words)} words for them", "Write one for each.")
        return tuple(word.strip() for word in words)

    def _read_replaced(self, value: Any, record: Record, place: Place) -> frozenset[tuple[int, int]]:
        try:
            return frozenset((int(start), int(end)) for start, end in value)
        except (TypeError, ValueError):
            refuse(*place, 'its "replaced" are no spans', 'Write "replaced": [[start, end], …] in characters.')

    def _read_entities(self, value: Any, record: Record, place: Place) -> frozenset[tuple[int, int, str]]:
        try:
            return frozenset((int(one["start"]), int(one["end"]), str(one["label"])) for one in value)
        except (TypeError, ValueError, KeyError):
            refuse(*place, 'its "entities" are none', 'Write [{"start": 0, "end": 5, "label": "PER"}, …].')

    def _read_both(self, value: Any, record: Record, place: Place) -> tuple[tuple[str, ...], str]:
        return self._read_words(value, record, place), self._read_label(record.get("label"), record, place)


_NEED_SECOND = {
    "question-answering",
    "text-ranking",
    "sentence-similarity",
    "sentence-order-prediction",
    "next-sentence-prediction",
    "pretraining-heads",
}


def _text(record: Record, names: Sequence[str], place: Place) -> str | None:
    """The text under the first of `names` that is there."""
    for name in names:
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not value.strip():
            _refuse_text(name, place)
        return value
    return None


def _refuse_text(name: str, place: Place) -> NoReturn:
    refuse(*place, f"its {name!r} is no text", "Write a text that is not empty.")
