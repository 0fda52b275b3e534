"""The machine while it measures: what it is, how it is shared, and how steady it was."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.machine import describe

__all__ = ["Yardstick", "choose_cores", "describe_machine", "describe_noise"]

_YARD = bytes(1 << 20)


class Yardstick:
    """A fixed piece of work that is timed between the turns, so that a run says how steady its machine was."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def measure(self) -> float:
        """Milliseconds that hashing 1 MiB takes now."""
        began = time.perf_counter()
        hashlib.sha256(_YARD).digest()
        taken = round(1e3 * (time.perf_counter() - began), 4)
        self.times.append(taken)
        return taken


def describe_machine() -> dict[str, Any]:
    """Processor, its features, cores, kernel, Python, and how busy the machine is as the measuring begins."""
    return {
        **describe(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not told",
        "steal": _read_steal(),
    }


def describe_noise(
    times: list[float], before: dict[str, Any], cells: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """How steady the machine was: how far the slow tenth of the yardstick's times lies above their median.

    `steal` is the share of processor time that the host gave to others meanwhile, None where it does not say. `waited`
    is the share of their time for which runs on one thread had no processor, the median of `cells`.
    """
    if not times:
        return {"yardstick": None, "spread": None, "steal": None, "load": None, "waited": None}
    median, slow = np.percentile(times, (50, 90))
    then, now = before.get("steal"), _read_steal()
    steal = None
    if then and now and now[1] > then[1]:
        steal = (now[0] - then[0]) / (now[1] - then[1])
    return {
        "yardstick": float(median),
        "spread": float(slow / median - 1),
        "steal": steal,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "waited": _find_waiting(cells),
    }


def _find_waiting(cells: Sequence[Mapping[str, Any]]) -> float | None:
    shares = [
        1 - np.mean(cell["work"]) / np.mean([taken for turn in cell["turns"] for taken in turn])
        for cell in cells
        if cell.get("work") and cell["threads"] == 1
    ]
    return max(0.0, float(np.median(shares))) if shares else None


def choose_cores(threads: int, pin: bool) -> list[int]:
    """The cores that a process is bound to: as many as it has threads, the last ones; none where it is not bound."""
    if not pin or not hasattr(os, "sched_getaffinity"):
        return []
    return sorted(os.sched_getaffinity(0))[-threads:]


def _read_steal() -> tuple[int, int] | None:
    """Ticks stolen by the host, and all ticks (proc(5), /proc/stat)."""
    words = _read("/proc/stat").partition("\n")[0].split()[1:]
    if len(words) < 8 or not all(word.isdigit() for word in words):
        return None
    return int(words[7]), sum(map(int, words[:8]))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
