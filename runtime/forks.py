"""What a process that forks after tokenising, or after loading an engine, is spared."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Protocol
from weakref import WeakSet

__all__ = ["Outliving", "keep_for_ever", "keep_forks_quiet", "watch_forks"]


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


class Outliving(Protocol):
    """What has to do something in a forked child, before anything there can release it."""

    def outlive_fork(self) -> None: ...


def watch_forks(thing: Outliving) -> None:
    """Call `thing.outlive_fork()` in every forked child, for as long as there is `thing`."""
    _register()
    _WATCHED.add(thing)


def keep_for_ever(thing: object) -> None:
    """Add a reference that nobody gives back, so that neither garbage collection nor the interpreter's end frees it."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


_WATCHED: WeakSet[Outliving] = WeakSet()


def _outlive_forks() -> None:
    for thing in list(_WATCHED):
        thing.outlive_fork()


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_outlive_forks)
