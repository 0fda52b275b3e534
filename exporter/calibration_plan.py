"""CalibrationPlan: what int8 and the half precisions are to be calibrated on, and what they may cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import BvxError, CalibrationError, PlanError
from .supported import CALIBRATED, OBSERVERS

__all__ = ["CalibrationPlan"]

_MOST_SAMPLES = 100_000


@dataclass(frozen=True)
class CalibrationPlan:
    """The texts, and the budget.

    `texts` names what to calibrate on (calibration.corpus reads it: a file, "-" for standard input, None for the
    built-in texts), of which `samples` are drawn. `ranges` are those of another export, used again instead: their
    file, or the bundle that it lies in. `observer` None is the one that was measured to be best. `labelled` names
    labelled data to judge on, and `max_drop` the share of the metric (or without labelled data, of the predictions)
    that a variant may lose. `reduce_range` None is what this machine's processor needs.
    """

    texts: str | None = None
    samples: int = 256
    observer: str | None = None
    ranges: Path | None = None
    labelled: str | None = None
    max_drop: float | None = None
    reduce_range: bool | None = None

    def faults(self, precisions: Sequence[str]) -> Iterator[BvxError]:
        """What is wrong with it for an export in these precisions, as far as can be seen without reading texts."""
        if not any(precision in CALIBRATED for precision in precisions):
            yield from self._needless()
        if not 1 <= self.samples <= _MOST_SAMPLES:
            yield PlanError(f"--samples is {self.samples}.", f"Choose from 1 to {_MOST_SAMPLES}; 256 are usual.")
        if self.observer is not None and self.observer not in OBSERVERS:
            yield PlanError(f"There is no observer {self.observer!r}.", f"Choose from: {', '.join(OBSERVERS)}.")
        if self.ranges is not None and self.texts is not None:
            yield PlanError("--ranges and --calibrate are both given.", "Ranges are used instead of texts: give one.")
        if self.ranges is not None:
            yield from self._missing(self.ranges)
        if self.max_drop is not None and not 0 <= self.max_drop < 1:
            yield PlanError(
                f"--max-drop is {self.max_drop:.3%}.", "Choose a share from 0% to below 100%, such as 0.5%."
            )

    def _missing(self, ranges: Path) -> Iterator[CalibrationError]:
        name = "ranges.safetensors"
        if ranges.is_dir() and not (ranges / name).is_file():
            yield CalibrationError(
                f"The folder {ranges} has no {name}.", "Name a bundle that was calibrated, or the file itself."
            )
        elif not ranges.exists():
            yield CalibrationError(
                f"There are no ranges at {ranges}.", f"Ranges lie in a bundle as {name}: name that file, or the bundle."
            )

    def _needless(self) -> Iterator[PlanError]:
        asked = {
            "--calibrate": self.texts is not None,
            "--ranges": self.ranges is not None,
            "--observer": self.observer is not None,
            "--max-drop": self.max_drop is not None,
            "--eval": self.labelled is not None,
        }
        given = [name for name, is_given in asked.items() if is_given]
        if given:
            yield PlanError(
                f"{', '.join(given)} is for precisions below fp32, and none is asked for.",
                f"Add one with --precision: {', '.join(CALIBRATED)}.",
            )
