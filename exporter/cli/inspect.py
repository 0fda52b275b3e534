"""`bvx inspect`."""

from __future__ import annotations

from .options import AsJson, Folder, Quiet, Verbose
from .shell import Shell, Work

__all__ = ["inspect"]


def inspect(bundle: Folder, as_json: AsJson = False, verbose: Verbose = False, quiet: Quiet = False) -> Work:
    """Show what a bundle holds. Inputs, variants, parity, what each pass did; every hash is checked."""

    def work(shell: Shell) -> int:
        from ...runtime.bundle import Bundle
        from ..inspection import describe
        from ..views import view_bundle

        document = describe(Bundle.open(bundle))
        shell.answer(document, view_bundle(document))
        return 0

    return work
