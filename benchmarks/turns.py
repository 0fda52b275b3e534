"""Timing engines in turns: each in a process of its own, one run each, so that a drifting machine drifts for all.

A worker is a process that reads "batch length" lines and answers each with the milliseconds that one run took.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPES", "OrtWorker", "Worker", "answer", "feeds", "machine", "measure", "processor", "read_shape", "table"]

SHAPES = ((1, 16), (1, 128), (8, 128), (1, 384))
WARM_UP = 3


class Worker:
    """A process started with `command` that has loaded its engine once it has said "ready"."""

    def __init__(self, command: Sequence[str], threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._read()

    def run(self, batch: int, length: int) -> float:
        """Milliseconds of one run at this shape."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{batch} {length}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._process.args)} ended before it answered; its error stands above")  # type: ignore[arg-type]
        return line


class OrtWorker(Worker):
    """An ONNX file on ONNX Runtime's CPU engine, without spinning threads."""

    def __init__(self, path: Path, disabled: Sequence[str], threads: int, python: str = sys.executable) -> None:
        super().__init__([python, __file__, str(path), ",".join(disabled), str(threads)], threads)


def answer(run: Callable[[int, int], object]) -> None:
    """The worker's side: say "ready", then time one `run(batch, length)` per line of standard input."""
    print("ready", flush=True)
    for line in sys.stdin:
        batch, length = map(int, line.split())
        started = time.perf_counter()
        run(batch, length)
        print((time.perf_counter() - started) * 1e3, flush=True)


def feeds(names: Sequence[str], batch: int, length: int) -> dict[str, NDArray[np.int64]]:
    """The same inputs for every engine: random ids, no padding."""
    ids = np.random.default_rng(0).integers(5, 1000, (batch, length), dtype=np.int64)
    values = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    return {name: values[name] for name in names}


def read_shape(text: str) -> tuple[int, int]:
    """Batch 1, length 128 is written 1x128."""
    batch, length = map(int, text.split("x"))
    return batch, length


def measure(workers: Mapping[str, Worker], shapes: Sequence[tuple[int, int]], rounds: int) -> dict[str, list[float]]:
    """Median milliseconds per worker, one for each shape; closes the workers."""
    medians: dict[str, list[float]] = {name: [] for name in workers}
    for batch, length in shapes:
        times: dict[str, list[float]] = {name: [] for name in workers}
        for turn in range(rounds + WARM_UP):
            for name, worker in workers.items():
                taken = worker.run(batch, length)
                if turn >= WARM_UP:
                    times[name].append(taken)
        for name, taken_all in times.items():
            medians[name].append(statistics.median(taken_all))
    for worker in workers.values():
        worker.close()
    return medians


def table(title: str, shapes: Sequence[tuple[int, int]], medians: Mapping[str, Sequence[float]]) -> str:
    """Markdown: one row per worker, one column per shape, the fastest of each column in bold."""
    best = [min(row[index] for row in medians.values()) for index in range(len(shapes))]
    lines = [f"\n| {title} | " + " | ".join(f"{batch}x{length}" for batch, length in shapes) + " |"]
    lines.append("|---|" + "---|" * len(shapes))
    for name, row in medians.items():
        cells = (
            f"**{value:.1f}**" if value == least else f"{value:.1f}" for value, least in zip(row, best, strict=True)
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine(threads: int, rounds: int) -> str:
    """The conditions, in a sentence."""
    return f"{processor()}, {threads} thread(s), medians of {rounds} runs in turns, milliseconds."


def processor() -> str:
    """What the processor is called."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return next(line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _serve(path: str, disabled: str, threads: str) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        path,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=[name for name in disabled.split(",") if name],
    )
    names = [value.name for value in session.get_inputs()]
    answer(lambda batch, length: session.run(None, feeds(names, batch, length)))


if __name__ == "__main__":
    _serve(*sys.argv[1:])
