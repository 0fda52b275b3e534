"""Where words go: answers to stdout, everything else to stderr."""

from __future__ import annotations

import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from ...runtime.errors import BvxError, FallbackWarning
from .. import descriptors
from ..documents import describe_error, to_json
from ..layout import Block, lay_out, make_visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["PARITY_FAILED", "REFUSED", "Shell", "Work"]

REFUSED, PARITY_FAILED = 1, 3

_NARROWEST = 20


class Shell:
    """Where words go: answers to stdout, everything else to stderr. Also watches an export (progress.Progress).

    `voice` is -1 for --quiet and 1 for --verbose. Whatever is printed for a person is without control characters.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.voice = 0
        self.warnings: list[str] = []
        self._answers: TextIO = sys.stdout
        self._bars: Bars | None = None
        self._stage: tuple[str, Any] = ("", None)
        self._began = self._stage_began = time.monotonic()

    @contextmanager
    def claim_stdout(self) -> Iterator[None]:
        """Keep stdout for answers: what libraries write there meanwhile goes to stderr."""
        stdout = sys.stdout
        with descriptors.claimed(stdout, "utf-8" if self.as_json else None) as self._answers:
            sys.stdout = sys.stderr
            try:
                yield
            finally:
                sys.stdout = stdout

    @contextmanager
    def heed_fallbacks(self) -> Iterator[None]:
        """Say what the runtime warns of when it leaves the GPU, once, as a warning of this command."""
        with warnings.catch_warnings():
            others = warnings.showwarning

            def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
                if not issubclass(category, FallbackWarning):
                    others(message, category, *place, **more)
                elif str(message) not in self.warnings:
                    self.warn(str(message))

            warnings.simplefilter("always", FallbackWarning)
            warnings.showwarning = show
            yield

    def answer(self, document: Mapping[str, Any], view: Iterable[Block]) -> None:
        """Print a command's answer: the document for programs, its view for people."""
        if self.as_json:
            self.write(document)
            return
        for line in lay_out(view, _find_width(self._answers)):
            print(line, file=self._answers)

    def write(self, document: Mapping[str, Any]) -> None:
        """Print a document on a line of its own, at once."""
        encoding = self._answers.encoding or "utf-8"
        print(to_json(document, ascii_only="utf" not in encoding.lower()), file=self._answers, flush=True)

    def refuse(self, error: BvxError, origin: BaseException) -> int:
        """Say what went wrong, and return its exit code."""
        if os.environ.get("BVX_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(origin)
        self._say(f"Error: {error}")
        if self.as_json:
            # Where stdout is what failed, stderr has said so.
            with suppress(OSError), self.claim_stdout():
                self.write({"error": describe_error(error)})
        return error.exit_code

    @contextmanager
    def watching(self, remaining: bool = False) -> Iterator[Shell]:
        """Draw progress on a terminal; elsewhere, or with --verbose, say a line for each stage; if quiet, neither.

        `remaining` shows the time that a stage has left instead of the time that it took until now.
        """
        if self.voice or not _can_draw(sys.stderr):
            yield self
            self._end_stage()
            return
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        text = TextColumn("{task.description}", markup=False)
        clock = TimeRemainingColumn() if remaining else TimeElapsedColumn()
        columns = (SpinnerColumn(), text, BarColumn(), TaskProgressColumn(), clock)
        with Progress(*columns, console=Console(stderr=True), transient=True) as self._bars:
            yield self
        self._bars = None

    def stage(self, name: str, total: int | None = None) -> None:
        name = make_visible(name)
        self._end_stage()
        self._stage_began = time.monotonic()
        if self._bars is None:
            self._stage = (name, None)
            if self.voice >= 0:
                self._say(f"{name} …")
            return
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._stage = (name, self._bars.add_task(name, total=total))

    def advance(self, units: int = 1, detail: str = "") -> None:
        name, task = self._stage
        detail = make_visible(detail)
        if self._bars is not None and task is not None:
            self._bars.update(task, advance=units, description=f"{name}: {detail}" if detail else name)
        elif detail:
            self.detail(f"  {detail}")

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
        self._say(f"Warning: {sentence}")

    def detail(self, *view: Block) -> None:
        """Say what only --verbose is to show."""
        if self.voice > 0:
            for line in lay_out(view, _find_width(sys.stderr)):
                self._say(line)

    def end(self) -> None:
        """A command is done."""
        self.detail(f"Took {time.monotonic() - self._began:.1f} s.")

    def _end_stage(self) -> None:
        name, _ = self._stage
        if name and self._bars is None:
            self.detail(f"{name}: {time.monotonic() - self._stage_began:.1f} s")
        self._stage = ("", None)

    def _say(self, line: str) -> None:
        print(make_visible(line), file=sys.stderr, flush=True)


def _find_width(stream: TextIO | None) -> int | None:
    """The columns of the terminal that `stream` is, or those that COLUMNS says; else None, without limit."""
    with suppress(OSError, ValueError):
        if stream is not None and stream.isatty():
            return max(_NARROWEST, shutil.get_terminal_size().columns)
    columns = os.environ.get("COLUMNS", "")
    return max(_NARROWEST, int(columns)) if columns.isascii() and columns.isdigit() else None


def _can_draw(stream: TextIO | None) -> bool:
    """Whether `stream` is a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


Work = Callable[[Shell], int]
"""What a command does once its words are read; it returns the exit code."""
