"""Ctrl-C and SIGTERM end a run once, at a moment when it can clean up after itself."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


class Interrupts:
    """While open, SIGINT and SIGTERM raise KeyboardInterrupt or SystemExit (128 + 15) between `allow` and `refuse`.

    SIGTERM would otherwise end the program on the spot. A signal that arrives before `allow`, or after `refuse`, during
    the cleaning up that another has started, waits until this closes. Until `refuse` every signal raises: the first
    may have been swallowed, in a weak reference's callback say, where Python ignores what is raised. Outside the main
    thread, and where the program handles a signal itself, nothing changes.
    """

    def __init__(self) -> None:
        self._allowed = False
        self._waiting: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if handler in _DEFAULTS:
                    self._before[number] = handler
                    signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._allowed = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._waiting is not None and (kind is None or issubclass(kind, Exception)):
            _stop(self._waiting)

    def allow(self) -> None:
        self._allowed = True
        if self._waiting is not None:
            self._receive(self._waiting, None)

    def refuse(self) -> None:
        self._allowed = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if not self._allowed:
            self._waiting = number
            return
        self._waiting = None
        _stop(number)


def _stop(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
