"""What a line of JSON Lines asks: a JSON string, or an object whose fields the task knows."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ...runtime.errors import InputError
from .line_reader import LONGEST_LINE, Line
from .predictions import Second
from .task_call import TaskCall

__all__ = ["Entry", "EntryReader"]

_TEXTS: Mapping[str, str] = {"question-answering": "question", "text-ranking": "query", "multiple-choice": "prompt"}
"""What the text is called by tasks that have a word of their own for it."""

_PAIRS: Mapping[str, str] = {"question-answering": "context", "text-ranking": "document"}
"""What the second text is called by tasks that have a word of their own for it."""

_LONGEST_ID = 1000
"""Characters."""


@dataclass(frozen=True)
class Entry:
    """What one line asks, or what is wrong with it; `given` is what comes back with the answer: the line's own "id"."""

    line: int
    text: str = ""
    second: Second = None
    given: Mapping[str, Any] = field(default_factory=dict)
    fault: InputError | None = None


class EntryReader:
    """Reads lines for the task that `takes` describes.

    The text is in "text" or under the task's own word, the second in "pair", "text_pair" or the task's own word, and
    several texts in "choices" or "documents" where the task takes such. "id" comes back with the answer. Other fields
    are left alone, so that lines may hold more than is asked.
    """

    def __init__(self, takes: TaskCall) -> None:
        self._takes = takes
        self._texts = (*_own(_TEXTS, takes), "text")
        # Every task knows a pair, so that none passes over one that it does not read.
        self._pairs = (*_own(_PAIRS, takes), "pair", "text_pair")
        self._several = "choices" if takes.second == "choices" else "documents" if takes.ranking else None
        self._wanted = f'Write {self._show_example()} on every line, perhaps with an "id".'

    def read(self, line: Line) -> Entry | None:
        """What `line` asks, or its fault; None for a blank line."""
        given: dict[str, Any] = {}
        try:
            text = _decode(line)
            if not text.strip():
                return None
            value = self._parse(text)
            if value.get("id") is not None:
                given["id"] = _read_id(value["id"])
            name = self._choose(value, self._texts)
            if name is None:
                self._refuse(f'It has no "{self._texts[0]}"{_list_fields(value)}.')
            return Entry(line.number, self._read_text(value, name), self._read_second(value), given)
        except InputError as error:
            return Entry(line.number, given=given, fault=error)

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            value = json.loads(text, object_pairs_hook=_unique_fields, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            self._refuse(f"It is not JSON ({error.msg}, at character {error.pos + 1}).")
        except RecursionError:
            self._refuse("It is nested too deeply.")
        except ValueError as error:
            # Of a number with thousands of digits, Python says as well how to allow for it in Python.
            self._refuse(f"It is not JSON that bvx reads ({str(error).partition(':')[0]}).")
        if isinstance(value, str):
            return {"text": value}
        if not isinstance(value, dict):
            self._refuse("It is neither a string nor an object.")
        return value

    def _read_text(self, value: Mapping[str, Any], name: str) -> str:
        text = value[name]
        if not isinstance(text, str):
            self._refuse(f'Its "{name}" is no string.')
        return text

    def _read_second(self, value: Mapping[str, Any]) -> Second:
        several = (self._several,) if self._several else ()
        name = self._choose(value, (*self._pairs, *several))
        if name is None:
            if self._takes.needed:
                wanted = [*self._pairs[: self._takes.second == "pair"], *several]
                self._refuse(f"It has no {_join(wanted, 'or')}.")
            return None
        if name in several:
            texts = value[name]
            if not (isinstance(texts, list) and texts and all(isinstance(text, str) for text in texts)):
                self._refuse(f'Its "{name}" are no list of strings.')
            return tuple(texts)
        if self._takes.second != "pair":
            self._refuse(f'It has a "{name}", which {self._takes.task} does not read.')
        return self._read_text(value, name)

    def _choose(self, value: Mapping[str, Any], names: Iterable[str]) -> str | None:
        """The one of `names` that is a field of `value`, and not null."""
        found = [name for name in names if value.get(name) is not None]
        if len(found) > 1:
            raise InputError(f"It has {_join(found, 'and')}, of which one is read.", "Leave the others out.")
        return found[0] if found else None

    def _show_example(self) -> str:
        fields = [f'"{self._texts[0]}": "…"']
        if self._takes.second == "pair" and self._takes.needed:
            fields.append(f'"{self._pairs[0]}": "…"')
        if self._takes.second == "choices":
            fields.append('"choices": ["…", "…"]')
        return f"{{{', '.join(fields)}}}"

    def _refuse(self, cause: str) -> NoReturn:
        raise InputError(cause, self._wanted)


def _own(names: Mapping[str, str], takes: TaskCall) -> tuple[str, ...]:
    return (names[takes.task],) if takes.task in names else ()


def _decode(line: Line) -> str:
    if line.content is None:
        raise InputError(f"It has more than {LONGEST_LINE:,} bytes.", "Split its text.")
    try:
        return line.content.decode("utf-8-sig" if line.number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"It is not UTF-8 (byte {error.start + 1}).", "Convert the input first, with iconv for example."
        ) from error


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {twice[:40]!r} stands there twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _read_id(value: Any) -> str | int | float:
    if isinstance(value, (str, int, float)) and len(str(value)) <= _LONGEST_ID and value not in (math.inf, -math.inf):
        return value
    raise InputError(
        f'Its "id" is no string or number of at most {_LONGEST_ID:,} characters.', "Give one, or leave it out."
    )


def _list_fields(value: Mapping[str, Any]) -> str:
    names = [name if len(name) <= 40 else f"{name[:40]}…" for name in itertools.islice(value, 5)]
    return f", but {_join(names, 'and')}" if names else ""


def _join(names: Iterable[str], word: str) -> str:
    return f" {word} ".join(f'"{name}"' for name in names)
