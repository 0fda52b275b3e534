"""The command line: words in, exit code out. The only folder of bvx that prints, exits, or knows typer and rich.

Typer only reads the words: each command returns the work to do, and `main` does it, where every error becomes one
paragraph on stderr (with --json also a document on stdout) and an exit code. Heavy imports wait until then.

Exit codes: 0 fine. 2 usage: the words are wrong in themselves, whatever lies on the disk (unknown names, options that
contradict or need each other). 1 refused with a reason: the words are fine, and what they name cannot be used. 3 parity
failed. 130 interrupted, 141 the reader of a pipe has left.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

try:
    import typer
    from typer import Option
except ModuleNotFoundError as missing:
    raise SystemExit(f"The command bvx needs {missing.name}, which is missing: `pip install bvx[cli]`.") from None

from ...runtime.errors import PlanError
from ..documents import explain
from . import bench, build, doctor, export, inspect, run, verify
from .options import AsJson, Quiet, Verbose
from .shell import Shell

__all__ = ["app", "main"]

_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13

app = typer.Typer(
    help="Compile BERT-variant encoders into bundles that serve without PyTorch.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

for command in (export.export, verify.verify, run.run, bench.bench, build.build, inspect.inspect, doctor.doctor):
    app.command()(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what `arguments` (by default those of the process) ask for, and return the exit code."""
    words = bench.name_json_file(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    options = words[: words.index("--")] if "--" in words else words
    shell = Shell(as_json="--json" in options)
    try:
        try:
            work = typer.main.get_command(app).main(words, prog_name="bvx", obj=shell, standalone_mode=False)
            if work == _INTERRUPTED:
                # Typer makes an exit code of Ctrl-C while it reads the words.
                raise KeyboardInterrupt
            if not callable(work):
                return int(work or 0)
            with shell.claim_stdout(), shell.heed_fallbacks():
                code = int(work(shell))
                shell.end()
                return code
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  the last place that can find words for it
            return shell.refuse(explain(error), error)
    except BrokenPipeError:
        # Whoever read the answers has left, and wants no more of them.
        return _BROKEN_PIPE


@app.callback(invoke_without_command=True)
def _bvx(
    context: typer.Context,
    version: Annotated[bool, Option("--version", help="Show the versions of bvx, Python and the engines.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    if version:
        from ..versions import describe_versions
        from ..views import view_versions

        shell = context.obj or Shell(as_json)
        with shell.claim_stdout():
            document = describe_versions()
            shell.answer(document, view_versions(document))
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise PlanError("No command is named.", "See `bvx --help`.")
