"""The command line: words in, exit code out. The only file of bvx that prints, exits, or knows typer and rich.

Typer only reads the words: each command returns the work to do, and `main` does it, where every error becomes one
paragraph on stderr (or, with --json, one document on stdout) and an exit code. Heavy imports wait until then.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self, TextIO

from ..runtime.errors import BvxError, PlanError

try:
    import typer
except ModuleNotFoundError as error:
    raise SystemExit(f"The command bvx needs {error.name}, which is not installed: `pip install bvx[cli]`.") from None

if TYPE_CHECKING:
    from .views import Block

__all__ = ["app", "main"]

Work = Callable[["Shell"], int]

_EXTRAS = {
    "export": ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub", "sentencepiece", "google"),
    "cpu": ("onnxruntime",),
    "cli": ("rich",),
}
"""Which extra brings a module that cannot be imported."""

_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13

app = typer.Typer(
    name="bvx",
    help="Compile BERT-variant encoders into bundles that serve without PyTorch.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Folder = Annotated[str, typer.Argument(metavar="BUNDLE", help="The bundle's folder.", show_default=False)]
Precision = Annotated[str | None, typer.Option(help="One of the bundle's precisions.  [default: its first]")]
Engine = Annotated[str, typer.Option(help="The engine that runs it.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to compute with.  [default: the cores allowed]")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that `arguments` (sys.argv without them) ask for, and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options = words[: words.index("--")] if "--" in words else words
    with Shell(as_json="--json" in options) as shell:
        try:
            work = typer.main.get_command(app).main(words, prog_name="bvx", standalone_mode=False)
            if not callable(work):
                return int(work or 0)
            with shell.claim_stdout():
                return int(work(shell))
        except BrokenPipeError:
            return _BROKEN_PIPE
        except (KeyboardInterrupt, typer.Abort):
            return shell.refuse(BvxError("Interrupted; nothing was written."), _INTERRUPTED)
        except BvxError as error:
            return shell.refuse(error, error.exit_code)
        except Exception as error:  # noqa: BLE001  the last place that can turn it into a sentence
            known = _explain(error)
            return shell.refuse(known, known.exit_code, error)


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    if version:
        from .. import __version__

        print(f"bvx {__version__}")
        raise typer.Exit
