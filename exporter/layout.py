"""Lines and tables for a person, from plain data."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Block", "Row", "Table", "format_bytes", "lay_out"]

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of cells under `title`; `columns` may be empty when they speak for themselves."""

    title: str
    columns: Row
    rows: tuple[Row, ...]


Block = str | Table


def lay_out(view: Iterable[Block]) -> Iterator[str]:
    """The lines of a view: columns as wide as their widest cell, rows under a title indented."""
    for block in view:
        if isinstance(block, str):
            yield block
            continue
        if block.title:
            yield from ("", block.title)
        rows = [block.columns, *block.rows] if block.columns else list(block.rows)
        widths = [max(_width(row[at]) for row in rows if at < len(row)) for at in range(max(map(len, rows), default=0))]
        for row in rows:
            cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False))
            yield f"{'  ' if block.title else ''}{'  '.join(cells)}".rstrip()


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


def _width(text: str) -> int:
    """Columns of a terminal: East Asian characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
