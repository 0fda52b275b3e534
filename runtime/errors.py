"""Every error that bvx raises on purpose.

BvxError
├── PlanError           what was asked for contradicts itself or is not supported     exit 2
├── UnknownFamily       the checkpoint belongs to no family that bvx knows            exit 1
├── UnsupportedModel    a known family, but a shape of it that bvx cannot export      exit 1
├── CheckpointError     the checkpoint cannot be found or read, or misses weights     exit 1
├── CalibrationError    the calibration texts or ranges are unusable                  exit 1
├── EngineBuildError    an engine's own builder failed; the cause is chained          exit 1
├── AccuracyLost        no variant was found that keeps the accuracy asked for        exit 3
├── ParityFailed        the exported graph does not say what PyTorch says             exit 3
├── BundleError         the bundle is damaged, hostile, newer, or misses a file       exit 1
├── EngineMismatch      no installed engine can serve what was asked for              exit 1
└── InputError          texts or arrays given to a loaded model are unusable          exit 1

FallbackWarning is no error: a bundle made for a GPU is served by the processor.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AccuracyLost",
    "BundleError",
    "BvxError",
    "CalibrationError",
    "CheckpointError",
    "EngineBuildError",
    "EngineMismatch",
    "FallbackWarning",
    "InputError",
    "ParityFailed",
    "PlanError",
    "UnknownFamily",
    "UnsupportedModel",
]


class BvxError(Exception):
    """What went wrong, in words, and what to do next.

    `cause` says what was found and what was wanted; `next_step` says what the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, cause: str, next_step: str = "") -> None:
        super().__init__(cause, next_step)
        self.cause = cause
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.cause} {self.next_step}".strip()


class PlanError(BvxError):
    exit_code = 2


class UnknownFamily(BvxError):
    pass


class UnsupportedModel(BvxError):
    pass


class CheckpointError(BvxError):
    pass


class CalibrationError(BvxError):
    pass


class EngineBuildError(BvxError):
    pass


class AccuracyLost(BvxError):
    exit_code = 3


class ParityFailed(BvxError):
    exit_code = 3


class BundleError(BvxError):
    pass


class EngineMismatch(BvxError):
    pass


class InputError(BvxError):
    pass


class FallbackWarning(UserWarning):
    """`engine="auto"` took an engine for another target than the best that the bundle was made for; says which."""
