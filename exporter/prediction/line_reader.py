"""The lines of a stream as they arrive, with a bound on what is held of them."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

__all__ = ["LONGEST_LINE", "Line", "LineReader"]

LONGEST_LINE = 16 * 2**20
"""Bytes of one line: a text of a million characters and its pair, however they are escaped."""

_READ = 2**16


@dataclass(frozen=True)
class Line:
    """One line: its number in the stream, from 1 on, and its bytes, without its end; None for more than may be held."""

    number: int
    content: bytes | None

    @property
    def size(self) -> int:
        return len(self.content or b"")


class LineReader:
    """The lines of `stream`, a binary file, which is read without a buffer of Python's own.

    Of a line too long nothing is kept but that it was there.
    """

    def __init__(self, stream: Any) -> None:
        # What lies in a buffer, select() would not see.
        self._stream = getattr(stream, "raw", stream)
        self._whole: deque[Line] = deque()
        self._pieces: list[bytes] = []
        self._length = 0
        self._count = 0
        self._ended = False

    def take(self, most: int, most_bytes: int) -> list[Line]:
        """The next lines: at least one, waiting for it, then as many as are there already; none at the end.

        At most `most`, and `most_bytes` unless it is one line. A file is always there, a pipe has what was written to
        it.
        """
        found: list[Line] = []
        size = 0
        while len(found) < most:
            if not self._whole:
                if self._ended or (found and not self._is_ready()):
                    break
                self._read()
                continue
            if found and size + self._whole[0].size > most_bytes:
                break
            found.append(self._whole.popleft())
            size += found[-1].size
        return found

    def skip(self, count: int) -> int:
        """Leave out the next `count` lines; returns how many there were."""
        done = 0
        while done < count and (lines := self.take(count - done, _READ)):
            done += len(lines)
        return done

    def _read(self) -> None:
        chunk = self._stream.read(_READ)
        if chunk is None:
            # Whoever opened the pipe made it one that does not wait.
            select.select([self._stream], [], [])
        elif chunk:
            self._whole.extend(self._split(chunk))
        else:
            self._ended = True
            if self._length:
                self._whole.append(self._finish())

    def _split(self, chunk: bytes) -> Iterator[Line]:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._keep(end)
            yield self._finish()
        self._keep(rest)

    def _keep(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > LONGEST_LINE:
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)

    def _finish(self) -> Line:
        self._count += 1
        content = b"".join(self._pieces) if self._length <= LONGEST_LINE else None
        self._pieces.clear()
        self._length = 0
        return Line(self._count, content)

    def _is_ready(self) -> bool:
        """Whether reading would not wait. What cannot be asked, such as a buffer in memory, never does."""
        with suppress(OSError, ValueError):
            return bool(select.select([self._stream], [], [], 0)[0])
        return True
