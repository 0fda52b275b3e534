"""What is read as a text at all, and what one among several is called in a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import InputError

__all__ = ["LONGEST_TEXT", "check_texts", "name_text"]

LONGEST_TEXT = 1_000_000
"""Characters of one text: five hundred pages. Tokenising takes some 220 bytes for each, before any of it is cut off."""


def name_text(one: str, number: int, count: int, *, begins: bool = True) -> str:
    """`one`, such as "text", at place `number` of `count`: "texts[3]", or "The text" where a sentence `begins` so."""
    if count == 1:
        return f"The {one}" if begins else f"the {one}"
    return f"{one}s[{number}]"


def check_texts(texts: Sequence[Any], one: str) -> None:
    """Raises InputError for what is no str, not valid Unicode, or too long; `one` is what each is called ("text")."""
    for number, text in enumerate(texts):
        name = name_text(one, number, len(texts))
        if not isinstance(text, str):
            step = "Decode it first." if isinstance(text, bytes) else "Give a str, or a list of str."
            raise InputError(f"{name} is {type(text).__name__}, not str.", step)
        if len(text) > LONGEST_TEXT:
            raise InputError(
                f"{name} has {len(text):,} characters; bvx reads at most {LONGEST_TEXT:,} of one.", "Split it."
            )
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(
                f"{name} has half a surrogate pair (U+{ord(text[error.start]):04X}) at position {error.start}: "
                "it is no valid Unicode.",
                "Decode its bytes again, with errors='replace'.",
            ) from error
