"""The records of a labelled file, one dictionary for each, whatever the file's format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from ...runtime.errors import CalibrationError
from ..corpus import open_file
from ..records import read_json_lines, read_rows, refuse

__all__ = ["Place", "Record", "read_records"]

Record = Mapping[str, Any]
Place = tuple[str, int]
"""The name of the file, and the line."""

_LARGEST_DOCUMENT = 256 * 2**20


def read_records(spec: str, names: Sequence[str]) -> Iterator[tuple[Place, Record]]:
    """The records of what `spec` names, in order; `names` are the fields that columns given by hand stand for.

    The last column is the last name; the others are the first ones. Raises CalibrationError for what cannot be read.
    """
    head, colon, tail = spec.rpartition(":")
    named = bool(colon and head) and not Path(spec).exists()
    path, columns = (Path(head), [name.strip() for name in tail.split(",")]) if named else (Path(spec), [])
    if columns and not 2 <= len(columns) <= len(names):
        raise CalibrationError(
            f"{spec!r} names {len(columns)} columns; wanted {' and '.join(names)}.",
            f"Write {head}:{','.join(names[-2:])}, the right answer last.",
        )
    fields = [*names[: len(columns) - 1], names[-1]] if columns else []
    suffix = path.suffix.lower()
    with open_file(path) as stream:
        if suffix in (".csv", ".tsv"):
            yield from _read_table(stream, path.name, columns, fields)
        elif suffix in (".jsonl", ".ndjson"):
            yield from _read_objects(stream, path.name, dict(zip(fields, columns, strict=True)))
        elif suffix == ".json":
            yield from _read_squad(stream, path.name)
        else:
            raise CalibrationError(
                f"{path.name} is called neither .csv, .tsv, .jsonl nor .json.",
                "Name it as what it is.",
            )


def _read_table(
    stream: BinaryIO, name: str, columns: Sequence[str], fields: Sequence[str]
) -> Iterator[tuple[Place, Record]]:
    rows = read_rows(stream, name)
    numbered = bool(columns) and all(column.isdecimal() for column in columns)
    titles = [] if numbered else [title.strip() for title in next(rows, (0, []))[1]]
    missing = [column for column in columns if not numbered and column not in titles]
    if missing and titles:
        shown = ", ".join(repr(title[:40]) for title in titles[:8])
        raise CalibrationError(f"{name} has no column {missing[0]!r}; its first row is {shown}.", "Name another.")
    places = [int(column) - 1 if numbered else titles.index(column) for column in columns if titles or numbered]
    if min(places, default=0) < 0:
        raise CalibrationError(f"{name} has no column 0.", "Count columns from 1 on.")
    called = dict(zip(fields, places, strict=True)) if places else {title: at for at, title in enumerate(titles)}
    for number, row in rows:
        if len(row) <= max(called.values(), default=0):
            refuse(name, number, f"it has {len(row)} columns; {max(called.values()) + 1} were wanted", "Mend the row.")
        yield (name, number), {field: row[at].strip() for field, at in called.items()}


def _read_objects(stream: BinaryIO, name: str, columns: Mapping[str, str]) -> Iterator[tuple[Place, Record]]:
    for number, value in read_json_lines(stream, name):
        if not isinstance(value, dict):
            refuse(name, number, "it is no object", "Write an object on every line.")
        yield (name, number), {field: value.get(column) for field, column in columns.items()} if columns else value


def _read_squad(stream: BinaryIO, name: str) -> Iterator[tuple[Place, Record]]:
    """Questions of SQuAD, numbered from 1 on; https://rajpurkar.github.io/SQuAD-explorer describes the format."""
    content = stream.read(_LARGEST_DOCUMENT + 1)
    if len(content) > _LARGEST_DOCUMENT:
        raise CalibrationError(f"{name} has more than {_LARGEST_DOCUMENT:,} bytes.", "Write JSON Lines instead.")
    try:
        found = [
            {
                "question": question["question"],
                "context": paragraph["context"],
                "answers": [answer["text"] for answer in question.get("answers", [])],
            }
            for article in json.loads(content)["data"]
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise CalibrationError(
            f"{name} is not SQuAD's JSON ({type(error).__name__}: {str(error)[:100]}).",
            'It has {"data": [{"paragraphs": [{"context", "qas": [{"question", "answers": [{"text"}]}]}]}]}; write '
            "anything else as JSON Lines.",
        ) from error
    yield from (((name, number), record) for number, record in enumerate(found, 1))
