"""`bvx verify`."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from ...runtime.errors import PlanError
from . import completion
from .options import AsJson, Engine, Folder, Precision, Quiet, Strict, Verbose
from .shell import PARITY_FAILED, Shell, Work

__all__ = ["verify"]


def verify(
    bundle: Folder,
    against: Annotated[str | None, Option(metavar="MODEL", help="Compare with PyTorch, live.")] = None,
    task: Annotated[
        str | None,
        Option(
            metavar="NAME",
            autocompletion=completion.list_tasks,
            help="What another tool's ONNX graph is for.  [default: as it shows]",
        ),
    ] = None,
    precision: Precision = None,
    engine: Engine = "auto",
    strict: Strict = False,
    bisect: Annotated[bool, Option("--bisect", help="With --against: name the first operator that diverges.")] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> Work:
    """Prove a bundle again, on this machine. Compared is what PyTorch said at export, or with --against says now.

    With --against it also takes another tool's ONNX file, or a folder that holds one.
    """

    def work(shell: Shell) -> int:
        if bisect and against is None:
            raise PlanError(
                "--bisect looks for the first operator that differs from PyTorch, and --against MODEL says whose.",
                "Name the model that the bundle was made from: `bvx inspect BUNDLE` shows it.",
            )
        from ..inspection import describe_verification
        from ..verification import verify
        from ..views import view_verification

        with shell.watching():
            found = verify(bundle, against, precision, engine, bisect, shell, task, strict)
        document = describe_verification(bundle, found.reports, found.divergences, shell.warnings)
        shell.answer(document, view_verification(document))
        return 0 if document["passed"] else PARITY_FAILED

    return work
