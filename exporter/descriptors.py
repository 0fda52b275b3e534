"""Standard output at the level of the process, where native code writes too."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

__all__ = ["claimed"]

_OUT, _ERR = 1, 2


@contextmanager
def claimed(stdout: TextIO | None, encoding: str | None = None) -> Iterator[TextIO]:
    """A stream to the process's standard output, while whatever else is written there goes to standard error.

    `stdout` is Python's own stream; where it does not write to descriptor 1 (a test's capture, say) it is handed
    back, and nothing is redirected. The stream is in `encoding`, by default that of `stdout`; what it does not have
    is written as an escape that is also JSON's (half surrogates, from file names that are not UTF-8).
    """
    if stdout is None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            yield nowhere
        return
    if not _is_native(stdout):
        yield stdout
        stdout.flush()
        return
    stdout.flush()
    kept = os.dup(_OUT)
    try:
        _divert()
        with os.fdopen(os.dup(kept), "w", encoding=encoding or stdout.encoding, errors="backslashreplace") as stream:
            yield stream
    finally:
        # What C buffers was meant for where descriptor 1 leads now.
        with suppress(OSError, AttributeError, TypeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, _OUT)
        os.close(kept)


def _is_native(stdout: TextIO) -> bool:
    try:
        return stdout.fileno() == _OUT
    except (OSError, ValueError, AttributeError):
        return False


def _divert() -> None:
    try:
        os.dup2(_ERR, _OUT)
    except OSError:
        # Standard error is closed.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _OUT)
        os.close(nowhere)
