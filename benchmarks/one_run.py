"""A process watched from outside: how long it takes, what it computes, and how much memory it holds as it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run", "run_to_end"]

_EVERY = 250
"""Lines of output between two looks at the memory."""


@dataclass(frozen=True)
class Moment:
    """What had gone by since the start: on the clock, and on the processor."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Run:
    """One run that printed `count` lines. `lines` are empty where they were not kept.

    `memory` has pairs of lines printed so far and what was resident then, `most_memory` the most that ever was; MB.
    """

    count: int
    first: Moment
    last: Moment
    memory: Sequence[tuple[int, float]]
    most_memory: float
    lines: Sequence[bytes]

    def rate(self, window: int) -> float:
        """Lines a second after the first `window`, of which the first is printed when all are done."""
        return (self.count - window) / (self.last.seconds - self.first.seconds)

    def work(self, window: int) -> float:
        """Seconds of the processor for one of these lines."""
        return (self.last.cpu_seconds - self.first.cpu_seconds) / (self.count - window)

    def memory_at(self, part: float) -> float:
        """What was resident at the last look before that part of all lines was printed."""
        return [held for line, held in self.memory if line <= max(part * self.count, self.memory[0][0])][-1]


def run_to_end(command: Sequence[str | Path], threads: int, *, keep: bool = False) -> Run:
    """Run `command`, which prints lines. Ends the program where it fails, or prints none."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(threads)), "TOKENIZERS_PARALLELISM": "false"}
    kept: list[bytes] = []
    memory: list[tuple[int, float]] = []
    most, count, first = 0.0, 0, Moment(0.0, 0.0)
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        for count, line in enumerate(process.stdout, start=1):
            if count == 1:
                first = Moment(time.perf_counter() - started, _read_cpu_seconds(process.pid))
            if keep:
                kept.append(line)
            if count % _EVERY == 0 or count == 1:
                held, most = _look(process.pid, most)
                memory.append((count, held))
        ended = time.perf_counter() - started
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not count:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode} after {count} lines.")
    return Run(count, first, Moment(ended, used.ru_utime + used.ru_stime), memory, most, kept)


def _read_cpu_seconds(process: int) -> float:
    """User and system time of all its threads (Linux: the 14th and 15th field of /proc/PID/stat, in clock ticks)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _look(process: int, most: float) -> tuple[float, float]:
    """What is resident now, and the most that ever was, in MB (Linux: /proc/PID/status)."""
    with suppress(OSError):
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "VmRSS" in fields:
            return _megabytes(fields["VmRSS"]), _megabytes(fields["VmHWM"])
    return most, most


def _megabytes(field: str) -> float:
    return int(field.split()[0]) * 1024 / 1e6
