"""What a service embeds: open a bundle, feed it texts or arrays, get the task's answers. No torch, no transformers.

Importing this package loads no engine and no tokenizer: every name below is looked up when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .encoder import Encoder
    from .errors import (
        BundleError,
        BvxError,
        CalibrationError,
        CheckpointError,
        EngineBuildError,
        EngineMismatch,
        InputError,
        ParityFailed,
        PlanError,
        UnknownFamily,
        UnsupportedModel,
    )
    from .loading import load
    from .manifest import Manifest
    from .parity import ParityReport

__all__ = [
    "BundleError",
    "BvxError",
    "CalibrationError",
    "CheckpointError",
    "Encoder",
    "EngineBuildError",
    "EngineMismatch",
    "InputError",
    "Manifest",
    "ParityFailed",
    "ParityReport",
    "PlanError",
    "UnknownFamily",
    "UnsupportedModel",
    "load",
]

_HOMES = {"Encoder": "encoder", "Manifest": "manifest", "ParityReport": "parity", "load": "loading"}
"""The module that defines each name; the errors are in errors.py."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
