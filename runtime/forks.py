"""What a process that forks after tokenising is spared."""

from __future__ import annotations

import os
from functools import cache

__all__ = ["keep_forks_quiet"]


@cache
def keep_forks_quiet() -> None:
    """Settle for the tokenizers library that forked children tokenise in one thread.

    It settles the same by itself, since its threads do not survive a fork, but up to 0.22 it warns in every child.
    """
    if not hasattr(os, "register_at_fork"):
        return
    name = "TOKENIZERS_PARALLELISM"
    unset: list[bool] = []

    def before() -> None:
        unset.append(name not in os.environ)
        os.environ.setdefault(name, "false")

    def after_in_parent() -> None:
        if unset.pop():
            os.environ.pop(name, None)

    os.register_at_fork(before=before, after_in_parent=after_in_parent)
