"""`bvx doctor`."""

from __future__ import annotations

from .options import AsJson, Quiet, Verbose
from .shell import REFUSED, Shell, Work

__all__ = ["doctor"]


def doctor(as_json: AsJson = False, verbose: Verbose = False, quiet: Quiet = False) -> Work:
    """Show what this machine has for bvx. What it means for speed, and what to mend (exit code 1)."""

    def work(shell: Shell) -> int:
        from ..doctor import examine
        from ..views import view_doctor

        document = examine()
        shell.answer(document, view_doctor(document))
        return REFUSED if document["problems"] else 0

    return work
