"""A rule: what it looks for, why that matters, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from .facts import Facts

__all__ = ["Breach", "Finding", "Rule", "Severity"]

Severity = Literal["refused", "slow", "large", "inaccurate"]
"""What comes of a breach: no engine at all, or one that is slower, larger or less accurate than it could be."""


@dataclass(frozen=True)
class Breach:
    """A place where a rule is broken: the node's name, and what was found there."""

    node: str
    reason: str


@dataclass(frozen=True)
class Rule:
    """One rule. `stricter` says why it refuses what the builder of TensorRT-RTX 1.7 accepts; else it is empty."""

    name: str
    severity: Severity
    remedy: str
    find: Callable[[Facts], Iterator[Breach]]
    stricter: str = ""


@dataclass(frozen=True)
class Finding:
    """A breach of the rule called `rule`, with the rule's severity and remedy."""

    rule: str
    severity: Severity
    node: str
    reason: str
    remedy: str
