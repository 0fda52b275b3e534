"""What NVIDIA's builder calls back: a logger that keeps what it is told, and a monitor that reports and can stop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from ..progress import Progress

__all__ = ["Record", "make_logger", "make_monitor"]


@dataclass
class Record:
    """What the logger was told: `errors` in order, and `layers`, the lines that describe the finished engine."""

    errors: list[str] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)


def make_logger(trt: Any, record: Record) -> Any:
    """A logger of the module `trt` that writes into `record`. What is verbose is read and dropped: it is megabytes."""
    grave = {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in grave:
                record.errors.append(" ".join(message.split()))
            elif "LayerType:" in message:
                record.layers += [line for line in message.splitlines() if "LayerType:" in line]

    return Logger()


def make_monitor(trt: Any, progress: Progress, stopped: threading.Event) -> Any:
    """A monitor that tells `progress` of each phase's steps, and ends the build once `stopped` is set.

    Phases lie in each other; only the outermost moves the bar, the others are its detail.
    """
    outermost: list[str] = []

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if not parent_phase and not outermost:
                outermost.append(phase_name)
                progress.stage("build", num_steps)
            else:
                progress.advance(0, phase_name)

        def phase_finish(self, phase_name: str) -> None:
            pass

        def step_complete(self, phase_name: str, step: int) -> bool:
            if [phase_name] == outermost:
                progress.advance(1)
            return not stopped.is_set()

    return Monitor()
