"""The command line: words in, exit code out. The only file of bvx that prints, exits, or knows typer and rich.

Typer only reads the words: each command returns the work to do, and `main` does it, where every error becomes one
paragraph on stderr (with --json also a document on stdout) and an exit code. Heavy imports wait until then.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

try:
    import typer
except ModuleNotFoundError as missing:
    raise SystemExit(f"The command bvx needs {missing.name}, which is missing: `pip install bvx[cli]`.") from None

from ..runtime.errors import BvxError, PlanError
from .documents import describe_error, to_json, to_plain

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from .views import Block

__all__ = ["app", "main"]

_MODULES = {
    "export": ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "sentencepiece", "google"),
    "cpu": ("onnxruntime",),
    "cli": ("rich",),
}
"""Extra -> the modules that it brings."""

_REFUSED, _PARITY_FAILED, _BROKEN_PIPE = 1, 3, 128 + 13
_PIPED_WIDTH = 10_000
"""Columns, where no terminal wraps lines: a program that reads them wants rows whole."""

app = typer.Typer(
    help="Compile BERT-variant encoders into bundles that serve without PyTorch.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Interrupted(BvxError):
    exit_code = 128 + 2


class Unexpected(BvxError):
    """Whatever is no BvxError: a fault of bvx, or of what it stands on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what `arguments` (by default those of the process) ask for, and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options = words[: words.index("--")] if "--" in words else words
    shell = Shell(as_json="--json" in options)
    try:
        try:
            work = typer.main.get_command(app).main(words, prog_name="bvx", standalone_mode=False)
            if not callable(work):
                return int(work or 0)
            with shell.claim_stdout():
                return int(work(shell))
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the last place that can find words for it
            return shell.refuse(_explain(error), error)
    except BrokenPipeError:
        # Whoever read the answers has left, and wants no more of them.
        return _BROKEN_PIPE


class Shell:
    """Where words go: answers to stdout, everything else to stderr."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._answers: TextIO = sys.stdout

    @contextmanager
    def claim_stdout(self) -> Iterator[None]:
        """Keep stdout for answers: what libraries write there meanwhile, native code too, goes to stderr."""
        stdout = sys.stdout
        native = _writes_to(stdout, 1)
        kept = _redirect_native_stdout(stdout) if native else -1
        if native:
            encoding = "utf-8" if self.as_json else stdout.encoding
            # Half surrogates, of names that are not UTF-8, become what is also their escape in JSON.
            self._answers = os.fdopen(os.dup(kept), "w", encoding=encoding, errors="backslashreplace")
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            answers, self._answers, sys.stdout = self._answers, stdout, stdout
            try:
                if native:
                    answers.close()
                elif answers is not None:
                    answers.flush()
            finally:
                if native:
                    _restore_native_stdout(kept)

    def answer(self, document: Mapping[str, Any], view: Callable[[Mapping[str, Any]], Iterable[Block]]) -> None:
        """Print a command's answer: the document for programs, its view for people."""
        if self.as_json:
            self.write(document)
        else:
            self.show(view(document))

    def write(self, document: Mapping[str, Any]) -> None:
        """Print a document on a line of its own, at once."""
        encoding = getattr(self._answers, "encoding", None) or "utf-8"
        print(to_json(document, ascii_only="utf" not in encoding.lower()), file=self._answers, flush=True)

    def show(self, blocks: Iterable[Block]) -> None:
        """Print lines and tables. Texts are printed as they are: `[MASK]` is no markup."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        width = None if self._answers.isatty() else _PIPED_WIDTH
        console = Console(file=self._answers, markup=False, highlight=False, emoji=False, width=width)
        for block in blocks:
            if isinstance(block, str):
                console.print(block, soft_wrap=True)
                continue
            if block.title:
                console.print(Text(f"\n{block.title}", style="bold"), soft_wrap=True)
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(block.columns))
            for number in range(max(map(len, [block.columns, *block.rows]))):
                header = block.columns[number] if block.columns else ""
                table.add_column(Text(header if number else f"  {header}"), overflow="fold")
            for row in block.rows:
                table.add_row(*(Text(cell if number else f"  {cell}") for number, cell in enumerate(row)))
            console.print(table)

    def warn(self, sentence: str) -> None:
        print(f"Warning: {sentence}", file=sys.stderr)

    def refuse(self, error: BvxError, origin: BaseException) -> int:
        """Say what went wrong, and return its exit code."""
        if os.environ.get("BVX_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(origin)
        print(f"Error: {error}", file=sys.stderr)
        if self.as_json:
            with self.claim_stdout():
                self.write({"error": describe_error(error)})
        return error.exit_code

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """What draws progress on a terminal, and says nothing but warnings elsewhere."""
        if sys.stderr is None or not sys.stderr.isatty():
            yield Watcher(self, None)
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            yield Watcher(self, bars)


class Watcher:
    """progress.Progress, drawn with `bars` where there are any."""

    def __init__(self, shell: Shell, bars: Bars | None) -> None:
        self._shell, self._bars = shell, bars
        self._stage = ""
        self._task: Any = None

    def stage(self, name: str, total: int | None = None) -> None:
        self._stage = name
        if self._bars is not None:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._task = self._bars.add_task(name, total=total)

    def advance(self, units: int = 1, detail: str = "") -> None:
        if self._bars is not None and self._task is not None:
            description = f"{self._stage}: {detail}" if detail else self._stage
            self._bars.update(self._task, advance=units, description=description)

    def warn(self, sentence: str) -> None:
        self._shell.warn(sentence)
