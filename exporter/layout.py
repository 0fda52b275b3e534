"""Lines and tables for a person, from plain data: within the terminal's width, and without control characters."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["UNSAFE", "Block", "Row", "Table", "Verbatim", "format_bytes", "lay_out", "make_visible", "shorten"]

Row = tuple[str, ...]

_SHOWN_TEXT = 70
_GAP = "  "
_LEAST = 16
"""A column is never narrower than its longest word, or than this where the word is longer."""

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters (C0, DEL, C1), line separators, and what turns the direction of writing (UAX 9)."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under `title`; `columns` may be empty when they speak for themselves."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Verbatim:
    """A line to copy: it is never broken."""

    text: str


Block = str | Table | Verbatim


def lay_out(view: Iterable[Block], width: int | None = None) -> Iterator[str]:
    """The lines of a view: columns as wide as their widest cell, rows under a title indented.

    Where that is more than `width` columns of the terminal (None is without limit), cells are broken between words;
    a table of too many columns for that becomes a list of its cells, each with its column's name.
    """
    for block in view:
        if isinstance(block, Verbatim):
            yield make_visible(block.text)
        elif isinstance(block, str):
            yield from _wrap(make_visible(block), width)
        else:
            yield from _lay_out_table(block, width)


def make_visible(text: str) -> str:
    """`text` with every character that a terminal would obey, instead of showing it, written as an escape."""
    return UNSAFE.sub(_escape, text)


def shorten(text: str) -> str:
    """`text` on one line, cut where it is long."""
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _SHOWN_TEXT else f"{one_line[: _SHOWN_TEXT - 1]}…"


def format_bytes(count: int | None) -> str:
    """Decimal units, as disks are sold and as the hub shows them."""
    if count is None:
        return "unknown"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _lay_out_table(table: Table, width: int | None) -> Iterator[str]:
    indent = ""
    if table.title:
        indent = _GAP
        yield ""
        yield from _wrap(make_visible(table.title), width)
    rows = [tuple(map(make_visible, row)) for row in ([table.columns] if table.columns else []) + list(table.rows)]
    widths = _fit(rows, None if width is None else width - len(indent))
    lines = _list_cells(rows, width, bool(table.columns)) if widths is None else _align(rows, widths)
    for line in lines:
        yield f"{indent}{line}".rstrip()


def _fit(rows: Sequence[Row], width: int | None) -> list[int] | None:
    """How wide each column may be for all to fit into `width`; None where that is not possible."""
    columns = [[row[at] for row in rows if at < len(row)] for at in range(max(map(len, rows), default=0))]
    wanted = [max(map(_width, cells)) for cells in columns]
    gaps = len(_GAP) * (len(columns) - 1)
    if width is None or sum(wanted) + gaps <= width:
        return wanted
    words = [max((_width(word) for cell in cells for word in cell.split()), default=0) for cells in columns]
    least = [min(want, max(word, 1), max(_LEAST, 1)) for want, word in zip(wanted, words, strict=True)]
    free = width - gaps - sum(least)
    if free < 0:
        return None
    # Whoever lacks the least gets it first, so that only the widest columns are broken.
    order = sorted(range(len(columns)), key=lambda at: wanted[at] - least[at])
    for place, at in enumerate(order):
        more = min(wanted[at] - least[at], free // (len(order) - place))
        least[at] += more
        free -= more
    return least


def _align(rows: Sequence[Row], widths: Sequence[int]) -> Iterator[str]:
    for row in rows:
        cells = [list(_wrap(cell, width)) for cell, width in zip(row, widths, strict=False)]
        for number in range(max(map(len, cells), default=0)):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            yield _GAP.join(part + " " * (width - _width(part)) for part, width in zip(parts, widths, strict=False))


def _list_cells(rows: Sequence[Row], width: int | None, named: bool) -> Iterator[str]:
    """Each row as a paragraph: its first cell, and the others below it with the names of their columns."""
    names, rows = (rows[0], rows[1:]) if named else ((), rows)
    for row in rows:
        for at, cell in enumerate(row):
            text = f"{names[at]}: {cell}" if 0 < at < len(names) else cell
            if text:
                yield from (f"{_GAP if at else ''}{line}" for line in _wrap(text, width and max(width - 4, 1)))


def _wrap(text: str, width: int | None) -> list[str]:
    """`text` in lines of at most `width` columns, but for words that are longer; always one line at least."""
    if width is None or _width(text) <= width:
        return [text]
    # The library counts characters: text of double width gets half as many.
    characters = max(1, width * len(text) // _width(text))
    return textwrap.wrap(text, characters, break_long_words=False, break_on_hyphens=False) or [text]


def _width(text: str) -> int:
    """Columns of a terminal: East Asian characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
