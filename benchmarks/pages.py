"""Pages with a part that is measured: what stands between the two comments is written by code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = ["replace_measured", "table"]

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


def replace_measured(page: Path, lines: Iterable[str]) -> None:
    """Put `lines` between the comments of `page`."""
    text = page.read_text(encoding="utf-8")
    before, after = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    page.write_text("\n".join((text[:before], *lines, text[after:])), encoding="utf-8")


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Markdown's lines of a table."""
    names = tuple(header)
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
