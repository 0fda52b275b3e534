"""Measurements: what has been measured so far, JSON-ready, and complete or not."""

from __future__ import annotations

from typing import Any

from .contenders import Contender
from .machine import Yardstick, describe_machine
from .plan import BenchPlan
from .worker import Worker

__all__ = ["Measurements", "name_contender"]


class Measurements:
    """What has been measured so far, as JSON-ready data; `complete` once nothing is missing."""

    def __init__(self, plan: BenchPlan) -> None:
        self.plan = plan
        self.complete = False
        self.contenders: list[dict[str, Any]] = []
        self.cells: list[dict[str, Any]] = []
        self.texts: list[dict[str, Any]] = []
        self.concurrency: list[dict[str, Any]] = []
        self.yardstick = Yardstick()
        self.machine: dict[str, Any] = describe_machine()

    def add(self, worker: Worker) -> dict[str, Any]:
        """The record of a contender that has loaded."""
        self.contenders.append({**_describe(worker.contender), **worker.facts})
        return self.contenders[-1]

    def skip(self, contender: Contender, why: str) -> None:
        """A contender that cannot be measured, and the sentence that says why."""
        self.contenders.append({**_describe(contender), "skipped": why})

    def refuse(self, worker: Worker, shape: tuple[int, int], why: str) -> None:
        """A cell that cannot be measured."""
        batch, length = shape
        self.cells.append({**name_contender(worker.contender), "batch": batch, "length": length, "skipped": why})


def name_contender(contender: Contender) -> dict[str, Any]:
    return {"contender": contender.name, "threads": contender.threads}


def _describe(contender: Contender) -> dict[str, Any]:
    return {
        **name_contender(contender),
        "model": contender.model,
        "tool": contender.tool,
        "ours": contender.request["tool"] == "bvx",
        "precision": contender.precision,
    }
