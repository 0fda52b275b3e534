"""Files of texts, read one line, JSON value or row at a time, with a bound on what is held of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from ..runtime.errors import CalibrationError

__all__ = ["LONGEST_LINE", "read_json_lines", "read_lines", "read_rows", "refuse"]

LONGEST_LINE = 16 * 2**20
"""Bytes of one line: a text of a million characters and its pair, however they are escaped."""

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """The lines of `stream`, with their numbers from 1 on and their ends; `name` is what messages call it.

    Raises CalibrationError for a line that is binary, not UTF-8, or longer than LONGEST_LINE.
    """
    number = 0
    while content := stream.readline(LONGEST_LINE + 1):
        number += 1
        if number == 1 and content.startswith(_UTF16):
            raise CalibrationError(f"{name} is UTF-16; wanted UTF-8.", "Convert it: `iconv -f UTF-16 -t UTF-8`.")
        if b"\0" in content:
            raise CalibrationError(f"{name} is binary: line {number} has a NUL byte.", "Give a file of texts.")
        if len(content) > LONGEST_LINE:
            refuse(name, number, f"it has more than {LONGEST_LINE:,} bytes", "Write one text on each line.")
        try:
            yield number, content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            why = f"it is not UTF-8 (byte {error.start + 1} is 0x{content[error.start]:02x})"
            refuse(name, number, why, "Convert the file first, with iconv for example, or give a file of texts.", error)


def read_json_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, Any]]:
    """The value on every line that is not blank, with the line's number.

    Raises CalibrationError for a line that is not JSON, and as `read_lines` does.
    """
    for number, line in read_lines(stream, name):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            why = f"it is not JSON ({str(error)[:100]})"
            refuse(name, number, why, "Write a JSON string or object on every line.", error)


def read_rows(stream: BinaryIO, name: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank of a table, with the number of the line that each ends on.

    Cells are separated by tabs where `name` ends in .tsv, and then quotes mean nothing, as in GLUE's files; by commas
    otherwise, and quoted as in RFC 4180. Raises CalibrationError for what is no such row, and as `read_lines` does.
    """
    tabs = Path(name).suffix.lower() == ".tsv"
    lines = (line for _, line in read_lines(stream, name))
    dialect: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    rows = csv.reader(lines, **dialect)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            refuse(name, rows.line_num, f"it is no row of a table ({error})", "Mend its quotes.", error)
        if row is None:
            return
        if any(cell.strip() for cell in row):
            yield rows.line_num, row


def refuse(name: str, number: int, why: str, step: str, error: Exception | None = None) -> NoReturn:
    """Raises CalibrationError that says `why` line `number` of `name` cannot be used."""
    raise CalibrationError(f"{name}, line {number}: {why}.", step) from error
