"""Overlapping windows over what is longer than a model takes, where transformers' fast tokenizers put them.

They are cut out of the whole sequence of tokens, special tokens included, which gives the same tokens as the
tokenizers library does with truncation and return_overflowing_tokens: it cuts at tokens too, before the special
tokens go around. The library's own windows take a second instance for each length, are objects of some hundred bytes
per token, and end in a panic where the overlap is as long as the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import BundleError, InputError

if TYPE_CHECKING:
    from .tokenizer import Tokens

__all__ = ["Windows"]

_MOST_WINDOWS = 2**14
"""Of one text: a million tokens in windows of 384 that overlap by half are 5,600. An overlap of all but one token
would make a window of every token, and of a book more than memory holds."""


@dataclass(frozen=True)
class Windows:
    """Windows of at most `max_length` tokens, of which each has `stride` tokens in common with the one before.

    Of the first of two texts at most `max_first` tokens are kept, None for all. Raises InputError for what are no such
    numbers.
    """

    max_length: int
    stride: int
    max_first: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("max_length", 1), ("stride", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name} is {value!r:.40}.", f"Give a whole number from {least} on.")

    def cut(self, tokens: Tokens, names: Sequence[str]) -> list[Tokens]:
        """The windows over the last of the texts in `tokens`, which have their origin, in order.

        The special tokens, and the first of two texts, are in every window. `names` are what a message calls each
        text. Raises InputError when no window has room for any of the last text, when windows overlap wholly, or when
        there are far too many.
        """
        assert tokens.origin is not None
        texts = tokens.origin.texts
        if self.max_first is not None and len(names) > 1:
            kept = (texts != 0) | ((texts == 0).cumsum() <= self.max_first)
            tokens, texts = tokens.take(np.flatnonzero(kept)), texts[kept]
        if len(tokens) <= self.max_length:
            return [tokens]
        inside = np.flatnonzero(texts == len(names) - 1)
        step = self._find_step(len(inside), len(tokens) - len(inside), names)
        return [tokens.take(places) for places in self._places(inside, len(tokens), step)]

    def _find_step(self, count: int, kept: int, names: Sequence[str]) -> int:
        """How many of `count` tokens a window begins after the one before; `kept` others are in every window."""
        name, others = names[-1], " and ".join([*names[:-1], "special tokens"])
        window = f"a window of {self.max_length} tokens, of which {kept} are {others}"
        room = self.max_length - kept
        if room < 1:
            raise InputError(f"Nothing of {name} has room in {window}.", "Shorten them, or give a larger window.")
        if self.stride >= room:
            raise InputError(
                f"{room} tokens of {name} have room in {window}; {self.stride} cannot be the same in the next.",
                f"Give a stride below {room}.",
            )
        step = room - self.stride
        windows = -(-(count - self.stride) // step)
        if windows > _MOST_WINDOWS:
            raise InputError(
                f"{windows:,} windows would be read of {name}, each {step} tokens after the one before; at most "
                f"{_MOST_WINDOWS:,} are.",
                f"Give a stride below {self.stride}.",
            )
        return step

    def _places(self, inside: NDArray[np.int64], count: int, step: int) -> Iterator[NDArray[np.int64]]:
        """The places in the whole sequence, of `count` tokens, of each window's."""
        first, last = int(inside[0]), int(inside[-1])
        if last - first >= len(inside):
            raise BundleError("The tokenizer puts a text into several places.", "Export the bundle again.")
        room = step + self.stride
        before, after = np.arange(first), np.arange(last + 1, count)
        for start in range(0, len(inside) - self.stride, step):
            yield np.concatenate([before, inside[start : start + room], after])
