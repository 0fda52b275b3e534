"""What bvx wants to reach beside other tools, and whether the measured intervals say that it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bvx.runtime.latency import compare_turns

__all__ = ["TARGETS", "Judgement", "Target", "find_cell", "judge", "judge_all"]

Document = Mapping[str, Any]
Cell = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """In `precision`, bvx is at least `least` times as fast as `other`."""

    precision: str
    other: str
    least: float


TARGETS = (
    Target("int8", "openvino-nncf", 1.0),
    Target("int8", "optimum-int8", 1.4),
    Target("int8", "torch", 3.0),
    Target("fp32", "openvino", 1.0),
    Target("fp32", "torch-compile", 1.0),
)


@dataclass(frozen=True)
class Judgement:
    """At one place `ours` was `ratio` times as fast as the target's other tool, `low` to `high` at 95 %.

    `beside` is "won", "lost" or "no difference"; `reached` "reached", "missed" or "open".
    """

    target: Target
    threads: int
    batch: int
    length: int
    ours: str
    ratio: float
    low: float
    high: float

    @property
    def beside(self) -> str:
        return "won" if self.low > 1 else "lost" if self.high < 1 else "no difference"

    @property
    def reached(self) -> str:
        return "reached" if self.low >= self.target.least else "missed" if self.high < self.target.least else "open"


def judge_all(document: Document) -> Iterator[Judgement]:
    """Every target at every place where bvx and the other tool were both measured."""
    for target in TARGETS:
        for threads in document["asked"]["threads"]:
            for batch, length in document["asked"]["shapes"]:
                if found := judge(document, target, threads, batch, length):
                    yield found


def judge(document: Document, target: Target, threads: int, batch: int, length: int) -> Judgement | None:
    """bvx's fastest engine in the target's precision beside the other tool; None where either was not measured."""
    kinds = {one["contender"]: (one["ours"], one["precision"]) for one in document["contenders"]}
    here = [
        cell
        for cell in document["cells"]
        if "turns" in cell and (cell["threads"], cell["batch"], cell["length"]) == (threads, batch, length)
    ]
    ours = [cell for cell in here if kinds[cell["contender"]] == (True, target.precision)]
    other = find_cell(document, target.other, threads, batch, length)
    if not ours or other is None:
        return None
    best = min(ours, key=lambda cell: float(cell["p50"]))
    ratio, low, high = compare_turns(other["turns"], best["turns"], paired=True)
    return Judgement(target, threads, batch, length, best["contender"], ratio, low, high)


def find_cell(document: Document, contender: str, threads: int, batch: int, length: int) -> Cell | None:
    """What was measured there, None where nothing was."""
    place = (contender, threads, batch, length)
    for cell in document["cells"]:
        if "turns" in cell and (cell["contender"], cell["threads"], cell["batch"], cell["length"]) == place:
            found: Cell = cell
            return found
    return None
