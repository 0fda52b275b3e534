"""What a file asks a model to read: one text or a pair of them from every line, JSON value or row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from ..runtime.errors import CalibrationError
from .records import read_json_lines, read_lines, read_rows, refuse

__all__ = [
    "PAIR_NAMES",
    "TEXT_NAMES",
    "Entry",
    "entries_of_json",
    "entries_of_lines",
    "entries_of_table",
    "find_columns",
]

Entry = tuple[str] | tuple[str, str]
"""A text, or a text and its pair."""

TEXT_NAMES = ("text", "sentence", "sentence1", "question", "query", "prompt", "premise")
PAIR_NAMES = ("pair", "text_pair", "sentence2", "context", "document", "hypothesis")
"""What the columns of common data sets are called; the first that is there is read."""

_LONGEST = 20_000
"""Characters that are kept of a text: more than any encoder here reads, and a bound on what a sample holds."""


def entries_of_lines(stream: BinaryIO, name: str) -> Iterator[Entry]:
    """Each line that is not blank, without the white space around it. Raises CalibrationError as `read_lines` does."""
    for _, line in read_lines(stream, name):
        if text := line.strip():
            yield (text[:_LONGEST],)


def entries_of_json(stream: BinaryIO, name: str, fields: tuple[str, ...]) -> Iterator[Entry]:
    """The strings of JSON Lines, or the `fields` of its objects, one for a text or two for a pair.

    Without `fields` they are found by their usual names. Raises CalibrationError for a line that has none.
    """
    for number, value in read_json_lines(stream, name):
        if isinstance(value, str) and not fields:
            entry = _clean([value])
        elif isinstance(value, dict):
            found = fields or _usual([key for key in value if value[key] is not None])
            entry = _clean([_field(value, key, name, number) for key in found or TEXT_NAMES[:1]])
        else:
            wanted = f"an object with {' and '.join(map(repr, fields or TEXT_NAMES[:1]))}"
            refuse(name, number, f"it is no {wanted.removeprefix('an ')}", f"Write {wanted} on every line.")
        if entry:
            _check_unicode(entry, name, number)
            yield entry


def entries_of_table(stream: BinaryIO, name: str, columns: tuple[str, ...]) -> Iterator[Entry]:
    """The cells of every row in `columns`, one for a text or two for a pair. Rows without a text are left out.

    Columns are named by the first row; numbers from 1 on say that no row has names. Without `columns` they are found
    by their usual names, and a table of one column needs none. Raises CalibrationError that lists what columns there
    are, and for a row that is too short.
    """
    rows = read_rows(stream, name)
    if columns and all(column.isdecimal() for column in columns):
        places = [int(column) - 1 for column in columns]
    else:
        _, titles = next(rows, (0, []))
        places = find_columns([title.strip() for title in titles], columns, name) if titles else []
    if min(places, default=0) < 0:
        raise CalibrationError(f"{name} has no column 0.", "Count columns from 1 on.")
    for number, row in rows:
        if len(row) <= max(places):
            refuse(name, number, f"it has {len(row)} columns; column {max(places) + 1} was wanted", "Mend the row.")
        if entry := _clean([row[place] for place in places]):
            yield entry


def find_columns(titles: Sequence[str], columns: Sequence[str], name: str) -> list[int]:
    """The places of `columns` among `titles`, or without `columns` of those with usual names."""
    if len(titles) == 1 and not columns:
        return [0]
    wanted = columns or _usual(titles)
    missing = [column for column in wanted if column not in titles]
    if missing or not wanted:
        called = " and ".join(map(repr, missing)) or repr(TEXT_NAMES[0])
        shown = ", ".join(repr(title[:40]) for title in titles[:8])
        raise CalibrationError(
            f"{name} has no column {called}; its first row is {shown}.",
            f"Name a column, as {name}:COLUMN, or its number where no row has names, as {name}:1.",
        )
    return [titles.index(column) for column in wanted]


def _usual(names: Sequence[str]) -> tuple[str, ...]:
    text = next((name for name in TEXT_NAMES if name in names), None)
    pair = next((name for name in PAIR_NAMES if name in names), None)
    return () if text is None else (text,) if pair is None else (text, pair)


def _field(value: dict[str, Any], key: str, name: str, number: int) -> str:
    found = value.get(key)
    if not isinstance(found, str):
        has = ", ".join(repr(str(one)[:40]) for one in list(value)[:8])
        why = f"its {key!r} is no string" if found is not None else f"it has no {key!r}, but {has or 'nothing'}"
        refuse(name, number, why, f"Name the field, as {name}:FIELD.")
    return found


def _clean(texts: Sequence[str]) -> Entry | None:
    """The texts, cut to what a model may read; None where one is blank."""
    kept = [text.strip()[:_LONGEST] for text in texts]
    if not all(kept):
        return None
    return (kept[0],) if len(kept) == 1 else (kept[0], kept[1])


def _check_unicode(entry: Entry, name: str, number: int) -> None:
    """JSON can spell half of a surrogate pair, which no tokenizer reads."""
    try:
        "".join(entry).encode()
    except UnicodeEncodeError as error:
        refuse(name, number, "it has half a surrogate pair, which is no valid Unicode", "Leave the line out.", error)
