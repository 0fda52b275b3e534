"""JSON Lines in, one answer for each out: in order, as they arrive, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...runtime.errors import InputError
from ..documents import describe_error, to_plain
from .line_entries import Entry, EntryReader
from .line_reader import LineReader
from .predictions import Answerer

__all__ = ["answer_lines"]

_BATCHES = 8
_MOST_BYTES = 2**19
"""Lines are answered so many batches at a time, and so many bytes, so that texts of like length run together. An
answer takes up to some hundred bytes for each byte of its line (a label for every token)."""


def answer_lines(answerer: Answerer, reader: LineReader) -> Iterator[dict[str, Any]]:
    """One JSON-ready object for each line that is not blank: its "line", its "id" where it has one, and "answer".

    What cannot be answered has an "error" instead. Lines are taken from `reader` only as they are answered.
    """
    entries = EntryReader(answerer.takes)
    lines = answerer.options.batch_size
    if answerer.model.task != "feature-extraction":
        # There every token's answer is a vector.
        lines *= _BATCHES
    while taken := reader.take(lines, _MOST_BYTES):
        yield from _answer_window(answerer, [entry for line in taken if (entry := entries.read(line)) is not None])


def _answer_window(answerer: Answerer, window: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    found: dict[int, Any] = {entry.line: entry.fault for entry in window if entry.fault is not None}
    for kind in (type(None), str, tuple):
        # A batch is either of single texts, or of pairs, or of texts with several others.
        alike = [entry for entry in window if entry.fault is None and isinstance(entry.second, kind)]
        found |= _answer_group(answerer, alike)
    for entry in window:
        answer = found.pop(entry.line)
        shown = {"error": describe_error(answer)} if isinstance(answer, InputError) else {"answer": to_plain(answer)}
        yield {"line": entry.line, **entry.given, **shown}


def _answer_group(answerer: Answerer, group: Sequence[Entry]) -> dict[int, Any]:
    """Line number -> answer, or why there is none. A group that is refused is halved, down to the lines at fault."""
    if not group:
        return {}
    try:
        answers = answerer.answer([entry.text for entry in group], [entry.second for entry in group])
    except InputError as error:
        if len(group) == 1:
            return {group[0].line: error}
        half = len(group) // 2
        return _answer_group(answerer, group[:half]) | _answer_group(answerer, group[half:])
    return {entry.line: one for entry, one in zip(group, answers, strict=True)}
