"""Answers of JSON Lines to stdout: each line whole, and whoever is interrupted learns where to go on."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import Any

from ...runtime.errors import InputError
from ..documents import Interrupted
from ..interrupts import Interrupts
from ..layout import make_visible
from .shell import REFUSED, Shell

__all__ = ["write_lines"]


class _Ended(Interrupted):
    """By SIGTERM."""

    exit_code = 128 + 15


class _BetweenLines(Interrupts):
    """A signal during a line waits for its end; a second one does not, since whoever reads may have stopped."""

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._waiting is not None:
            self._allowed = True
        super()._receive(number, frame)


def write_lines(
    shell: Shell, documents: Iterable[Mapping[str, Any]], skipped: int, stop: bool, watched: bool = False
) -> int:
    """Write each of `documents`, which answer the lines after the first `skipped`; returns the exit code.

    With `stop` the first that has an "error" ends it. `watched` tells the shell of each line. Raises InputError for a
    line that ends it, and Interrupted for a signal; both say where to go on.
    """
    refused, first, count, last = 0, "", 0, skipped
    try:
        with _BetweenLines() as signals:
            signals.allow()
            for document in documents:
                error = document.get("error")
                if error and stop:
                    raise _stop_at(document)
                signals.refuse()
                shell.write(document)
                last, count = document["line"], count + 1
                signals.allow()
                if watched:
                    shell.advance(detail=f"line {last}")
                if error:
                    refused += 1
                    first = first or f"On line {last}: {error['cause']}"
    except (KeyboardInterrupt, SystemExit) as signal:
        kind, word = (Interrupted, "Interrupted") if isinstance(signal, KeyboardInterrupt) else (_Ended, "Ended")
        where, step = (f"after line {last}", _go_on(last)) if count else ("before the first answer", "")
        raise kind(f"{word} {where}.", step) from signal
    except (BrokenPipeError, InputError):
        raise
    except Exception as error:
        if count:
            torn = " Of the line after it a part may be there: remove that." if isinstance(error, OSError) else ""
            _say(f"Answered up to line {last}.{torn} {_go_on(last)}")
        raise
    shell.detail(f"Answered {count - refused} lines.")
    if refused:
        _say(f"Error: {refused} of {count} lines could not be answered. {first}")
    return REFUSED if refused else 0


def _stop_at(document: Mapping[str, Any]) -> InputError:
    line, error = document["line"], document["error"]
    step = f"{error['next_step']} All lines before it are answered: once it is mended, go on with `--skip {line - 1}`."
    return InputError(f"On line {line}: {error['cause']}", step.strip())


def _go_on(last: int) -> str:
    return f"To go on, add `--skip {last}` to the same command, and append what it writes (`>>`)."


def _say(sentence: str) -> None:
    print(make_visible(sentence), file=sys.stderr, flush=True)
