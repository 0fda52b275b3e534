"""The process of one contender: it loads an engine, and then does what each line of standard input asks for.

    python -m bvx.exporter.bench.serve '{"tool": …}'

Lines in and out are JSON. The first line out says `ready` or `failed`; afterwards each line in has one line out. The
interpreter may be that of another environment, which has NumPy and the tool, and nothing of bvx but these files.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.latency import time_runs, warm_up

__all__ = ["Feeds", "Opened", "Reader", "Run", "main", "make_feeds", "peak_bytes", "serve"]

Feeds = dict[str, NDArray[np.int64]]
Run = Callable[[Feeds], object]
Reader = Callable[[list[str], int], Mapping[str, Any]]
"""Reads texts in batches of so many: milliseconds for the `whole` and to `tokenise`, and their `tokens`."""


def main() -> None:
    """Serve the contender that the one argument describes, until standard input ends."""
    asked = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What libraries print must not stand between the answers.

    def tell(answer: Mapping[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        if asked.get("cores"):
            os.sched_setaffinity(0, asked["cores"])
        began = time.perf_counter()
        if asked["tool"] == "bvx":
            from .serve_bundle import open_bundle as opens
        else:
            from .other_tools import open_tool as opens
            from .other_tools import quieten

            quieten()
        opened = opens(asked)
        facts = {**opened.facts, "reads": opened.texts is not None}
        tell({"ready": {**facts, "load": 1e3 * (time.perf_counter() - began), "cores": _affinity()}})
    except Exception as error:  # noqa: BLE001  whatever keeps a tool from starting is said in the report
        tell({"failed": _words(error)})
        return
    for line in sys.stdin:
        try:
            tell(serve(opened, json.loads(line)))
        except Exception as error:  # noqa: BLE001  the same for whatever it cannot run
            tell({"failed": _words(error)})


def _words(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:400]


class Opened:
    """A loaded engine: `run` takes feeds of the inputs `names`; ids lie below `vocabulary`."""

    def __init__(
        self,
        run: Run,
        names: tuple[str, ...],
        vocabulary: int,
        facts: Mapping[str, Any],
        texts: Reader | None = None,
    ) -> None:
        self.run, self.names, self.vocabulary, self.facts, self.texts = run, names, vocabulary, facts, texts


def serve(opened: Opened, asked: Mapping[str, Any]) -> dict[str, Any]:
    """One answer: `warm`, `run`, `concurrent`, `texts` or `peak`, as `asked["do"]` says."""
    kind = asked["do"]
    if kind == "peak":
        return {"bytes": peak_bytes()}
    if kind == "texts":
        if opened.texts is None:
            raise ValueError("it does not read texts")
        return dict(opened.texts(asked["texts"], asked["batch"]))
    feeds = make_feeds(opened.names, asked["batch"], asked["length"], opened.vocabulary)
    if kind == "warm":
        return asdict(warm_up(lambda: opened.run(feeds), asked["seconds"]))
    if kind == "run":
        worked = time.process_time()
        times = time_runs(lambda: opened.run(feeds), asked["count"])
        return {"times": times, "work": 1e3 * (time.process_time() - worked) / asked["count"]}
    return _run_at_once(lambda: opened.run(feeds), asked["level"], asked["seconds"])


def make_feeds(names: tuple[str, ...], batch: int, length: int, vocabulary: int) -> Feeds:
    """The same inputs for every contender: random ids, no padding."""
    ids = np.random.default_rng(0).integers(5, max(6, min(vocabulary, 1000)), (batch, length), dtype=np.int64)
    values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: values[name] for name in names}


def peak_bytes(status: Path = Path("/proc/self/status")) -> int | None:
    """The most memory that this process had resident so far (VmHWM, which unlike ru_maxrss begins anew with exec)."""
    try:
        text = status.read_text(encoding="utf-8")
    except OSError:
        return None
    found = [line.split()[1] for line in text.splitlines() if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 if found else None


def _run_at_once(run: Callable[[], object], level: int, seconds: float) -> dict[str, Any]:
    """`level` threads that each run for `seconds`: what each run took, and how long all of it lasted."""
    times: list[list[float]] = [[] for _ in range(level)]
    begun = threading.Barrier(level + 1)
    end = [0.0]
    failures: list[Exception] = []

    def work(own: list[float]) -> None:
        begun.wait()
        try:
            while time.perf_counter() < end[0]:
                own += time_runs(run, 1)
        except Exception as error:  # noqa: BLE001  raised again below, in the thread that answers
            failures.append(error)

    threads = [threading.Thread(target=work, args=(own,)) for own in times]
    for thread in threads:
        thread.start()
    end[0] = time.perf_counter() + seconds
    began = time.perf_counter()
    begun.wait()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return {"times": [taken for own in times for taken in own], "seconds": time.perf_counter() - began}


def _affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


if __name__ == "__main__":
    main()
