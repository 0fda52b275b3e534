"""What the shell offers for a word that is begun. Each list is made when it is asked for, from what is cheap to import.

Typer keeps those that begin as the word does; where none does, the shell offers files.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..supported import PRECISIONS, TARGETS

__all__ = [
    "list_engines",
    "list_families",
    "list_models",
    "list_one_precision",
    "list_precisions",
    "list_targets",
    "list_tasks",
]


def list_models() -> list[str]:
    from ..families import known_architectures

    return list(known_architectures())


def list_tasks() -> list[str]:
    from ...runtime.tasks import TASKS

    return [task.name for task in TASKS]


def list_families() -> list[str]:
    from ..families import known_families

    return list(known_families())


def list_one_precision() -> list[str]:
    return list(PRECISIONS)


def list_precisions(incomplete: str) -> list[str]:
    return _continue_list(PRECISIONS, incomplete)


def list_targets(incomplete: str) -> list[str]:
    return _continue_list(TARGETS, incomplete)


def list_engines() -> list[str]:
    from ...runtime.engines import ENGINES

    return ["auto", *ENGINES]


def _continue_list(names: Iterable[str], incomplete: str) -> list[str]:
    """What `fp32,f` may become: the list with each name that it does not hold yet."""
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name not in before.split(",")]
