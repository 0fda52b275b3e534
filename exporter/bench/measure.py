"""The measuring: every contender in a process of its own, in turns, so that a machine that drifts drifts for all."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ...runtime.latency import WarmUp, summarise
from ..progress import Progress
from .budget import Budget
from .contenders import PREPARED, Contender, find_contenders, link_package, prepare
from .crowd import measure_concurrency, measure_texts
from .machine import choose_cores
from .measurements import Measurements, name_contender
from .plan import BenchPlan
from .worker import ToolFailed, Worker

__all__ = ["measure", "measure_contenders"]

_TURN = 40.0
"""Milliseconds that a turn lasts: a process that runs after others finds its caches cold, and a service does not."""

_MOST_IN_A_TURN = 8


def measure(plan: BenchPlan, progress: Progress) -> Measurements:
    """Measure what `plan` asks for. Ctrl-C ends it early: what was measured comes back, not `complete`.

    Raises PlanError and BundleError before anything is measured.
    """
    plan.check()
    with tempfile.TemporaryDirectory(prefix="bvx-bench-") as folder:
        contenders = find_contenders(plan, Path(plan.work or folder))
        return measure_contenders(plan, contenders, link_package(Path(folder)), progress)


def measure_contenders(
    plan: BenchPlan, contenders: Sequence[Contender], environment: Mapping[str, str], progress: Progress
) -> Measurements:
    """Measure `contenders`, whatever they are, at the shapes of `plan`, those of one number of threads at a time.

    `environment` has the variables for the processes of other tools.
    """
    found = Measurements(plan)
    most = max((sum(one.threads == threads for one in contenders) for threads in plan.threads), default=0)
    extras = bool(plan.texts) + bool(plan.concurrency)
    budget = Budget(plan.minutes, [shape for _ in plan.threads for shape in plan.shapes], most, extras)
    try:
        failed = _prepare(contenders, environment, progress)
        for threads in plan.threads:
            group = [one for one in contenders if one.threads == threads]
            _measure_group(found, [(one, failed.get(one.name, "")) for one in group], environment, budget, progress)
        found.complete = True
    except KeyboardInterrupt:
        progress.warn("Interrupted: what was measured until now is written, marked incomplete.")
    return found


def _prepare(contenders: Sequence[Contender], environment: Mapping[str, str], progress: Progress) -> dict[str, str]:
    failed: dict[str, str] = {}
    todo = {one.name: one for one in contenders if one.request["tool"] in PREPARED and not one.skipped}
    if todo:
        progress.stage("Preparing the other tools", len(todo))
    for name, one in todo.items():
        if why := prepare(one, environment):
            failed[name] = why
        progress.advance(detail=name)
    return failed


def _measure_group(
    found: Measurements,
    group: Sequence[tuple[Contender, str]],
    environment: Mapping[str, str],
    budget: Budget,
    progress: Progress,
) -> None:
    workers: list[Worker] = []
    try:
        progress.stage("Loading", len(group))
        for contender, failed in group:
            progress.advance(detail=contender.name)
            if contender.skipped or failed:
                found.skip(contender, contender.skipped or failed)
                continue
            own = contender.request["tool"] == "bvx"
            try:
                workers.append(
                    Worker(contender, {} if own else environment, choose_cores(contender.threads, found.plan.pin))
                )
            except ToolFailed as error:
                found.skip(contender, error.cause)
        records = {id(worker): found.add(worker) for worker in workers}
        for shape in found.plan.shapes:
            _measure_shape(found, workers, shape, budget, progress)
        measure_concurrency(found, workers, budget, progress)
        measure_texts(found, workers, budget, progress)
        for worker in workers:
            with suppress(ToolFailed):  # A process that has died said so where it did.
                records[id(worker)]["peak_bytes"] = worker.ask("peak")["bytes"]
    finally:
        for worker in workers:
            worker.close()


def _measure_shape(
    found: Measurements, workers: Sequence[Worker], shape: tuple[int, int], budget: Budget, progress: Progress
) -> None:
    batch, length = shape
    name = f"{batch}x{length}, {_count_threads(workers)}"
    began = time.monotonic()
    warmed = _warm_up(found, workers, shape, budget, name, progress)
    budget.note_warming(time.monotonic() - began)
    bursts = {number: _burst(one.typical) for number, one in warmed.items()}
    costs = {number: bursts[number] * one.typical for number, one in warmed.items()}
    rounds = budget.divide(costs, found.plan.rounds)
    total = sum(rounds[number] * cost for number, cost in costs.items())
    progress.stage(f"Measuring {name}", max(1, round(total)))
    turns: dict[int, list[list[float]]] = {number: [] for number in warmed}
    work: dict[int, list[float]] = {number: [] for number in warmed}
    pace: list[float] = []
    try:
        for turn in range(max(rounds.values(), default=0)):
            pace.append(found.yardstick.measure())
            for number in [one for one in turns if turn < rounds[one]]:
                try:
                    answer = workers[number].ask("run", batch=batch, length=length, count=bursts[number])
                except ToolFailed as error:
                    del turns[number]
                    found.refuse(workers[number], shape, error.cause)
                    continue
                turns[number].append(answer["times"])
                work[number].append(round(answer["work"], 4))
                progress.advance(round(costs[number]), workers[number].contender.name)
    finally:
        # Also after Ctrl-C: a cell with the turns that it has is better than none, and says how many they were.
        for number, taken in turns.items():
            if len(taken) >= 2:
                found.cells.append(
                    {
                        **name_contender(workers[number].contender),
                        **asdict(summarise(taken, batch, length, warmed[number])),
                        "turns": [[round(one, 4) for one in turn] for turn in taken],
                        "work": work[number][: len(taken)],
                        "yardstick": pace[: len(taken)],
                    }
                )


def _warm_up(
    found: Measurements,
    workers: Sequence[Worker],
    shape: tuple[int, int],
    budget: Budget,
    name: str,
    progress: Progress,
) -> dict[int, WarmUp]:
    """By the number of each worker that can run the shape, how it became steady."""
    batch, length = shape
    progress.stage(f"Warming up {name}", len(workers))
    warmed: dict[int, WarmUp] = {}
    for number, worker in enumerate(workers):
        progress.advance(detail=worker.contender.name)
        longest = worker.facts.get("longest", length)
        if length > longest:
            found.refuse(worker, shape, f"The model reads at most {longest} tokens.")
            continue
        try:
            answer = worker.ask("warm", batch=batch, length=length, seconds=budget.warm_seconds)
            warmed[number] = WarmUp(**answer)
        except ToolFailed as error:
            found.refuse(worker, shape, error.cause)
    return warmed


def _burst(typical: float) -> int:
    return max(1, min(_MOST_IN_A_TURN, round(_TURN / max(typical, 1e-3))))


def _count_threads(workers: Sequence[Worker]) -> str:
    threads = workers[0].contender.threads if workers else 0
    return f"{threads} thread{'s' * (threads != 1)}"
