"""The command line: words in, exit code out. The only file of bvx that prints, exits, or knows typer and rich.

Typer only reads the words: each command returns the work to do, and `main` does it, where every error becomes one
paragraph on stderr (with --json also a document on stdout) and an exit code. Heavy imports wait until then.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

try:
    import typer
    from typer import Argument, Option
except ModuleNotFoundError as missing:
    raise SystemExit(f"The command bvx needs {missing.name}, which is missing: `pip install bvx[cli]`.") from None

from ..runtime.errors import BvxError, PlanError
from . import descriptors
from .documents import describe_error, explain, to_json
from .layout import Block, lay_out

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

__all__ = ["app", "main"]

_REFUSED, _PARITY_FAILED, _BROKEN_PIPE = 1, 3, 128 + 13

app = typer.Typer(
    help="Compile BERT-variant encoders into bundles that serve without PyTorch.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)

AsJson = Annotated[bool, Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Folder = Annotated[str, Argument(metavar="BUNDLE", help="The bundle's folder.")]
Precision = Annotated[str | None, Option(metavar="NAME", help="One of the bundle's precisions.")]
Engine = Annotated[str, Option(metavar="NAME", help="The engine that runs the bundle.")]


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
            return shell.refuse(explain(error), error)
    except BrokenPipeError:
        # Whoever read the answers has left, and wants no more of them.
        return _BROKEN_PIPE


class Shell:
    """Where words go: answers to stdout, everything else to stderr. Also watches an export (progress.Progress)."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.warnings: list[str] = []
        self._answers: TextIO = sys.stdout
        self._bars: Bars | None = None
        self._stage: tuple[str, Any] = ("", None)

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

    def answer(self, document: Mapping[str, Any], view: Iterable[Block]) -> None:
        """Print a command's answer: the document for programs, its view for people."""
        if self.as_json:
            self.write(document)
            return
        for line in lay_out(view):
            print(line, file=self._answers)

    def write(self, document: Mapping[str, Any]) -> None:
        """Print a document on a line of its own, at once."""
        encoding = self._answers.encoding or "utf-8"
        print(to_json(document, ascii_only="utf" not in encoding.lower()), file=self._answers, flush=True)

    def refuse(self, error: BvxError, origin: BaseException) -> int:
        """Say what went wrong, and return its exit code."""
        if os.environ.get("BVX_DEBUG", "0") not in ("", "0"):
            traceback.print_exception(origin)
        print(f"Error: {error}", file=sys.stderr)
        if self.as_json:
            # Where stdout is what failed, stderr has said so.
            with suppress(OSError), self.claim_stdout():
                self.write({"error": describe_error(error)})
        return error.exit_code

    @contextmanager
    def watching(self) -> Iterator[Shell]:
        """Draw progress on a terminal; elsewhere say nothing but warnings."""
        if sys.stderr is None or not sys.stderr.isatty():
            yield self
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

        text = TextColumn("{task.description}", markup=False)
        columns = (SpinnerColumn(), text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as self._bars:
            yield self

    def stage(self, name: str, total: int | None = None) -> None:
        if self._bars is not None:
            for task in self._bars.task_ids:
                self._bars.remove_task(task)
            self._stage = (name, self._bars.add_task(name, total=total))

    def advance(self, units: int = 1, detail: str = "") -> None:
        name, task = self._stage
        if self._bars is not None and task is not None:
            self._bars.update(task, advance=units, description=f"{name}: {detail}" if detail else name)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)
        print(f"Warning: {sentence}", file=sys.stderr)


Work = Callable[[Shell], int]


@app.callback(invoke_without_command=True)
def _bvx(version: Annotated[bool, Option("--version", help="Show the version.")] = False) -> None:
    if version:
        from .. import __version__

        print(f"bvx {__version__}")
        raise typer.Exit


@app.command(name="export")
def _export(
    model: Annotated[str, Argument(metavar="MODEL", help="A hub id, a local folder, or an architecture's name.")],
    task: Annotated[str | None, Option(help="What the model is for.  [default: as the checkpoint says]")] = None,
    family: Annotated[str | None, Option(help="albert, bert, electra, roberta or spanbert.")] = None,
    revision: Annotated[str | None, Option(help="A branch, tag or commit on the hub.")] = None,
    precision: Annotated[str, Option(metavar="NAME,…", help="Supported: fp32.")] = "fp32",
    target: Annotated[str, Option(metavar="NAME,…", help="Supported: cpu.")] = "cpu",
    profile: Annotated[list[str] | None, Option(metavar="MIN:OPT:MAX", help="Such as 1x16:8x128:32x512.")] = None,
    hidden_states: Annotated[bool, Option("--hidden-states", help="Add every layer's hidden states.")] = False,
    out: Annotated[Path | None, Option(metavar="DIR", help="The bundle's folder.  [default: NAME.bvx]")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace a bundle that is there.")] = False,
    random_weights: Annotated[bool, Option("--random-weights", help="Fill a known architecture.")] = False,
    seed: Annotated[int, Option(min=0, help="Seed of the random weights.")] = 0,
    as_json: AsJson = False,
) -> Work:
    """Turn a checkpoint into a bundle. Without proof that it says what PyTorch says, nothing is written."""

    def work(shell: Shell) -> int:
        from .request import Request, make_plan

        plan = make_plan(
            Request(
                model=model, task=task, family=family, revision=revision, precision=precision, target=target,
                profiles=tuple(profile or ()), hidden_states=hidden_states, out=out, overwrite=overwrite,
                random_weights=random_weights, seed=seed,
            )
        )  # fmt: skip
        from .inspection import describe_export
        from .pipeline import export
        from .views import view_export

        with shell.watching():
            result = export(plan, shell)
        document = describe_export(result.path, plan.out, shell.warnings)
        shell.answer(document, view_export(document))
        return 0

    return work


@app.command(name="verify")
def _verify(
    bundle: Folder,
    against: Annotated[str | None, Option(metavar="MODEL", help="Compare with PyTorch, live.")] = None,
    precision: Precision = None,
    engine: Engine = "auto",
    bisect: Annotated[bool, Option("--bisect", help="Name the first operator that diverges.")] = False,
    as_json: AsJson = False,
) -> Work:
    """Prove a bundle again, on this machine. Compared is what PyTorch said at export, or with --against says now."""

    def work(shell: Shell) -> int:
        from .inspection import describe_verification
        from .verification import verify
        from .views import view_verification

        with shell.watching():
            found = verify(bundle, against, precision, engine, bisect, shell)
        document = describe_verification(bundle, found.reports, found.divergences, shell.warnings)
        shell.answer(document, view_verification(document))
        return 0 if document["passed"] else _PARITY_FAILED

    return work


@app.command(name="run")
def _run(
    bundle: Folder,
    texts: Annotated[list[str] | None, Argument(metavar="[TEXT]...", help="None: the lines of standard input.")] = None,
    pair: Annotated[list[str] | None, Option(metavar="TEXT", help="The second text of each TEXT.")] = None,
    jsonl: Annotated[bool, Option("--jsonl", help="JSON lines in (text, pair), JSON lines out.")] = False,
    truncate: Annotated[bool, Option("--truncate", help="Cut texts that are too long.")] = False,
    top_k: Annotated[int | None, Option(min=1, help="How many labels, or tokens for a mask.")] = None,
    batch_size: Annotated[int, Option(min=1, help="The most texts that run at once.")] = 32,
    precision: Precision = None,
    engine: Engine = "auto",
    threads: Annotated[int | None, Option(min=1, help="Threads to use.  [default: the cores allowed]")] = None,
    as_json: AsJson = False,
) -> Work:
    """Answer texts with a bundle. Labels, tokens for a mask, or embeddings, as the bundle's task says."""

    def work(shell: Shell) -> int:
        from ..runtime.loading import load
        from .predictions import Settings, answer, answer_lines, compare, describe_answers, read_texts
        from .views import view_answers

        stdin = sys.stdin.buffer if sys.stdin is not None and not sys.stdin.isatty() else None
        settings = Settings(truncate, batch_size, top_k)
        if jsonl and (texts or pair or as_json or stdin is None):
            raise PlanError("--jsonl reads standard input and writes JSON lines.", "Leave out TEXT, --pair and --json.")
        given = [] if jsonl else read_texts(texts, stdin)
        with load(bundle, precision=precision, engine=engine, threads=threads) as model:
            if jsonl:
                return _stream(shell, answer_lines(model, stdin or (), settings))
            answers = answer(model, given, pair, settings)
            cosines = compare(model, answers)
            document = describe_answers(model, given, pair, answers, cosines)
        shell.answer(document, view_answers(given, pair, answers, cosines))
        return 0

    return work


@app.command(name="inspect")
def _inspect(bundle: Folder, as_json: AsJson = False) -> Work:
    """Show what a bundle holds. Inputs, variants, parity, what each pass did; every hash is checked."""

    def work(shell: Shell) -> int:
        from ..runtime.bundle import Bundle
        from .inspection import describe
        from .views import view_bundle

        document = describe(Bundle.open(bundle))
        shell.answer(document, view_bundle(document))
        return 0

    return work


@app.command(name="doctor")
def _doctor(as_json: AsJson = False) -> Work:
    """Show what this machine has for bvx. What it means for speed, and what to mend (exit code 1)."""

    def work(shell: Shell) -> int:
        from .doctor import examine
        from .views import view_doctor

        document = examine()
        shell.answer(document, view_doctor(document))
        return _REFUSED if document["problems"] else 0

    return work


def _stream(shell: Shell, answers: Iterable[Mapping[str, Any]]) -> int:
    refused, first, count = 0, "", 0
    for count, document in enumerate(answers, start=1):  # noqa: B007
        shell.write(document)
        if "error" in document:
            refused += 1
            first = first or f"On line {document['line']}: {document['error']['cause']}"
    if refused:
        print(f"Error: {refused} of {count} lines could not be answered. {first}", file=sys.stderr)
    return _REFUSED if refused else 0
