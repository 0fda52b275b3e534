"""What services do besides one shape at a time: calls that come at once, and texts from strings to answers."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..progress import Progress
from .budget import Budget
from .measurements import Measurements, name_contender
from .worker import ToolFailed, Worker

__all__ = ["measure_concurrency", "measure_texts"]

_ROUNDS = 5
_FEWEST = 1
_FIRST = 8
_SLOW = 4.0
"""Where time is limited, who takes so many times the median for the first texts does not read the others."""
_BATCH = 64


def measure_concurrency(found: Measurements, workers: Sequence[Worker], budget: Budget, progress: Progress) -> None:
    """Every level of concurrency, at the first shape."""
    plan = found.plan
    if not plan.concurrency:
        return
    batch, length = plan.shapes[0]
    seconds = budget.limit_extra(len(workers) * len(plan.concurrency) * len(plan.threads), plan.seconds)
    progress.stage("Measuring calls that come at once", len(workers) * len(plan.concurrency))
    for level in plan.concurrency:
        for worker in workers:
            progress.advance(detail=f"{worker.contender.name}, {level} at once")
            if length > worker.facts.get("longest", length):
                continue
            try:
                answer = worker.ask("concurrent", batch=batch, length=length, level=level, seconds=seconds)
            except ToolFailed as error:
                progress.warn(f"{worker.contender.name}, {level} at once: {error.cause}")
                continue
            times = sorted(answer["times"])
            found.concurrency.append(
                {
                    **name_contender(worker.contender),
                    "batch": batch,
                    "length": length,
                    "level": level,
                    "calls": len(times),
                    "texts_per_second": batch * len(times) / answer["seconds"],
                    "p50": times[len(times) // 2],
                    "p99": times[min(len(times) - 1, math.ceil(0.99 * len(times)) - 1)],
                }
            )


def measure_texts(found: Measurements, workers: Sequence[Worker], budget: Budget, progress: Progress) -> None:
    """The texts by every contender that reads texts, in turns; also after Ctrl-C, as far as it came."""
    texts = list(found.plan.texts)
    readers = [worker for worker in workers if worker.facts.get("reads")] if texts else []
    if not readers:
        return
    progress.stage("Measuring texts", len(readers) * (_ROUNDS + 1))
    taken: dict[int, list[dict[str, Any]]] = {id(worker): [] for worker in readers}
    first: dict[int, float] = {}
    end = time.monotonic() + budget.limit_extra(len(found.plan.threads), math.inf)
    try:
        for turn in range(_ROUNDS + 1):
            if turn > _FEWEST and time.monotonic() > end:
                break
            for worker in list(readers):
                progress.advance(detail=worker.contender.name)
                try:
                    # The first turn warms up, with a few.
                    answer = worker.ask("texts", texts=texts if turn else texts[:_FIRST], batch=_BATCH)
                except ToolFailed as error:
                    progress.warn(f"{worker.contender.name} does not read these texts: {error.cause}")
                    readers.remove(worker)
                    continue
                if turn:
                    taken[id(worker)].append(answer)
                else:
                    first[id(worker)] = float(answer["whole"])
            if not turn and end < math.inf:
                readers = list(_drop_slow(readers, first, progress))
    finally:
        found.texts += [_summarise(worker, texts, taken[id(worker)]) for worker in readers if taken[id(worker)]]


def _drop_slow(readers: Sequence[Worker], first: Mapping[int, float], progress: Progress) -> Iterator[Worker]:
    median = statistics.median(first.values()) if first else 0.0
    for worker in readers:
        if first[id(worker)] <= _SLOW * median:
            yield worker
        else:
            progress.warn(f"{worker.contender.name} is too slow to read all texts in the time that there is.")


def _summarise(worker: Worker, texts: Sequence[str], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The turn in the middle; `low` and `high` are the fastest and the slowest, `padded` is of bundles alone."""
    ordered = sorted(answers, key=lambda one: float(one["whole"]))
    middle = ordered[len(ordered) // 2]
    return {
        **name_contender(worker.contender),
        "texts": len(texts),
        "digest": hashlib.sha256("\0".join(texts).encode()).hexdigest(),
        "tokens": middle["tokens"],
        "batch": _BATCH,
        "milliseconds": middle["whole"],
        "low": ordered[0]["whole"],
        "high": ordered[-1]["whole"],
        "tokenise": middle["tokenise"],
        "padded": middle.get("padded"),
        "texts_per_second": 1e3 * len(texts) / middle["whole"],
        "tokens_per_second": 1e3 * middle["tokens"] / middle["whole"],
    }
