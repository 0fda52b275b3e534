"""`bvx inspect`."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from .options import AsJson, Quiet, Verbose
from .shell import REFUSED, Shell, Work

__all__ = ["inspect"]


def inspect(
    bundle: Annotated[str, Argument(metavar="BUNDLE", help="The bundle's folder; with --check also an ONNX file.")],
    check: Annotated[
        str | None, Option(metavar="TARGET", help="Check the graphs for tensorrt, or tensorrt:10.13; builds nothing.")
    ] = None,
    engine: Annotated[
        bool, Option("--engine", help="Show the compiled engines, those in this machine's cache too, layer by layer.")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> Work:
    """Show what a bundle holds. Inputs, variants, parity, what each pass did; every hash is checked."""

    def work(shell: Shell) -> int:
        if check is not None:
            from ..checks import describe_checks, view_checks

            document = describe_checks(bundle, check)
            shell.answer(document, view_checks(document))
            return 0 if document["passed"] else REFUSED

        from ...runtime.bundle import Bundle

        if engine:
            from ..build_views import view_layers
            from ..engines import describe_engines

            document = describe_engines(Bundle.open(bundle))
            shell.answer(document, view_layers(document))
            return 0
        from ..inspection import describe
        from ..views import view_bundle

        document = describe(Bundle.open(bundle))
        shell.answer(document, view_bundle(document))
        return 0

    return work
