"""The measuring: every contender in a process of its own, in turns, so that a machine that drifts drifts for all."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...runtime.latency import WarmUp, summarise
from ..progress import Progress
from .contenders import PREPARED, Contender, find_contenders, link_package, prepare
from .machine import Yardstick, choose_cores, describe_machine
from .plan import BenchPlan
from .worker import ToolFailed, Worker

__all__ = ["Measurements", "measure"]

_WARM_SECONDS = 5.0
_TURN = 40.0
"""Milliseconds that a turn lasts: a process that runs after others finds its caches cold, and a service does not."""

_MOST_IN_A_TURN = 8
_TEXT_ROUNDS = 5
_BATCH = 64


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

    def skip(self, contender: Contender, why: str) -> None:
        self.contenders.append({**_describe(contender), "skipped": why})


def measure(plan: BenchPlan, progress: Progress) -> Measurements:
    """Measure what `plan` asks for. Ctrl-C ends it early: what was measured comes back, not `complete`.

    Raises PlanError and BundleError before anything is measured.
    """
    plan.check()
    found = Measurements(plan)
    with tempfile.TemporaryDirectory(prefix="bvx-bench-") as folder:
        work = Path(folder)
        contenders = find_contenders(plan, work)
        environment = link_package(work / "path")
        try:
            failed = _prepare(contenders, environment, progress)
            for threads in plan.threads:
                group = [one for one in contenders if one.threads == threads]
                _measure_group(found, [(one, failed.get(one.name, "")) for one in group], environment, progress)
            found.complete = True
        except KeyboardInterrupt:
            progress.warn("Interrupted: what was measured until now is written, marked incomplete.")
    return found


def _prepare(contenders: Sequence[Contender], environment: dict[str, str], progress: Progress) -> dict[str, str]:
    failed: dict[str, str] = {}
    todo = {one.name: one for one in contenders if one.tool in PREPARED and not one.skipped}
    if todo:
        progress.stage("Preparing the other tools", len(todo))
    for name, one in todo.items():
        if why := prepare(one, environment):
            failed[name] = why
        progress.advance(detail=name)
    return failed


def _measure_group(
    found: Measurements, group: Sequence[tuple[Contender, str]], environment: dict[str, str], progress: Progress
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
        records = {id(worker): {**_describe(worker.contender), **worker.facts} for worker in workers}
        found.contenders += records.values()
        for shape in found.plan.shapes:
            _measure_shape(found, workers, shape, progress)
        _measure_concurrency(found, workers, progress)
        _measure_texts(found, workers, progress)
        for worker in workers:
            with suppress(ToolFailed):  # A process that has died said so where it did.
                records[id(worker)]["peak_bytes"] = worker.ask("peak")["bytes"]
    finally:
        for worker in workers:
            worker.close()


def _measure_shape(found: Measurements, workers: Sequence[Worker], shape: tuple[int, int], progress: Progress) -> None:
    batch, length = shape
    rounds = found.plan.rounds
    name = f"{batch}x{length}, {_count_threads(workers)}"
    progress.stage(f"Warming up {name}", len(workers))
    warmed: dict[int, WarmUp] = {}
    for number, worker in enumerate(workers):
        progress.advance(detail=worker.contender.name)
        longest = worker.facts.get("longest", length)
        if length > longest:
            _refuse(found, worker, shape, f"The model reads at most {longest} tokens.")
            continue
        try:
            answer = worker.ask("warm", batch=batch, length=length, seconds=_WARM_SECONDS)
            warmed[number] = WarmUp(**answer)
        except ToolFailed as error:
            _refuse(found, worker, shape, error.cause)
    bursts = {number: _burst(one.typical) for number, one in warmed.items()}
    total = sum(rounds * bursts[number] * one.typical for number, one in warmed.items())
    progress.stage(f"Measuring {name}", max(1, round(total)))
    turns: dict[int, list[list[float]]] = {number: [] for number in warmed}
    pace: list[float] = []
    try:
        for _ in range(rounds):
            pace.append(found.yardstick.measure())
            for number in list(turns):
                try:
                    answer = workers[number].ask("run", batch=batch, length=length, count=bursts[number])
                except ToolFailed as error:
                    del turns[number]
                    _refuse(found, workers[number], shape, error.cause)
                    continue
                turns[number].append(answer["times"])
                progress.advance(round(bursts[number] * warmed[number].typical))
    finally:
        # Also after Ctrl-C: a cell with the turns that it has is better than none, and says how many they were.
        for number, taken in turns.items():
            if len(taken) >= 2:
                row = asdict(summarise(taken, batch, length, warmed[number]))
                found.cells.append(
                    {
                        **_name(workers[number].contender),
                        **row,
                        "turns": [[round(one, 4) for one in turn] for turn in taken],
                        "yardstick": pace[: len(taken)],
                    }
                )


def _measure_concurrency(found: Measurements, workers: Sequence[Worker], progress: Progress) -> None:
    plan = found.plan
    if not plan.concurrency:
        return
    batch, length = plan.shapes[0]
    progress.stage("Measuring calls that come at once", len(workers) * len(plan.concurrency))
    for level in plan.concurrency:
        for worker in workers:
            progress.advance(detail=f"{worker.contender.name}, {level} at once")
            if length > worker.facts.get("longest", length):
                continue
            try:
                answer = worker.ask("concurrent", batch=batch, length=length, level=level, seconds=plan.seconds)
            except ToolFailed as error:
                progress.warn(f"{worker.contender.name}, {level} at once: {error.cause}")
                continue
            times = sorted(answer["times"])
            found.concurrency.append(
                {
                    **_name(worker.contender),
                    "batch": batch,
                    "length": length,
                    "level": level,
                    "calls": len(times),
                    "texts_per_second": batch * len(times) / answer["seconds"],
                    "p50": times[len(times) // 2],
                    "p99": times[min(len(times) - 1, math.ceil(0.99 * len(times)) - 1)],
                }
            )


def _measure_texts(found: Measurements, workers: Sequence[Worker], progress: Progress) -> None:
    texts = list(found.plan.texts)
    readers = [worker for worker in workers if worker.contender.request["tool"] == "bvx"] if texts else []
    if not readers:
        return
    progress.stage("Measuring texts", len(readers) * (_TEXT_ROUNDS + 1))
    taken: dict[int, list[dict[str, Any]]] = {id(worker): [] for worker in readers}
    for turn in range(_TEXT_ROUNDS + 1):
        for worker in list(readers):
            try:
                answer = worker.ask("texts", texts=texts, batch=_BATCH)
            except ToolFailed as error:
                progress.warn(f"{worker.contender.name} does not read these texts: {error.cause}")
                readers.remove(worker)
                continue
            progress.advance(detail=worker.contender.name)
            if turn:  # The first warms up.
                taken[id(worker)].append(answer)
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    for worker in readers:
        answers = sorted(taken[id(worker)], key=lambda one: float(one["whole"]))
        middle = answers[len(answers) // 2]
        found.texts.append(
            {
                **_name(worker.contender),
                "texts": len(texts),
                "digest": digest,
                "tokens": middle["tokens"],
                "batch": _BATCH,
                "milliseconds": middle["whole"],
                "tokenise": middle["tokenise"],
                "texts_per_second": 1e3 * len(texts) / middle["whole"],
                "tokens_per_second": 1e3 * middle["tokens"] / middle["whole"],
            }
        )


def _refuse(found: Measurements, worker: Worker, shape: tuple[int, int], why: str) -> None:
    found.cells.append({**_name(worker.contender), "batch": shape[0], "length": shape[1], "skipped": why})


def _burst(typical: float) -> int:
    return max(1, min(_MOST_IN_A_TURN, round(_TURN / max(typical, 1e-3))))


def _name(contender: Contender) -> dict[str, Any]:
    return {"contender": contender.name, "threads": contender.threads}


def _describe(contender: Contender) -> Mapping[str, Any]:
    return {
        **_name(contender),
        "model": contender.model,
        "tool": contender.tool,
        "ours": contender.request["tool"] == "bvx",
        "precision": contender.precision,
    }


def _count_threads(workers: Sequence[Worker]) -> str:
    threads = workers[0].contender.threads if workers else 0
    return f"{threads} thread{'s' * (threads != 1)}"
