"""The lowerings: one file per target, each saying what its engine wants the canonical graph to look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from ...runtime.manifest import PassLog
from . import cpu

__all__ = ["LOWERINGS", "Lowering", "find_lowering"]


@dataclass(frozen=True)
class Lowering:
    """One precision for one target.

    `rewrite` turns a copy of the canonical graph into the lowered one, in place; None says that the canonical graph
    is the fastest form there is, so that its one file serves. `engine_options` are what the engine has to be told.
    """

    target: str
    precision: str
    rewrite: Callable[[ir.Model], Sequence[PassLog]] | None
    engine_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """Where in the bundle the variant lies."""
        return CANONICAL_FILE if self.rewrite is None else f"onnx/{self.target}/{self.precision}.onnx"


CANONICAL_FILE = "onnx/model.onnx"

LOWERINGS: tuple[Lowering, ...] = (Lowering("cpu", "fp32", None, cpu.ENGINE_OPTIONS),)


def find_lowering(target: str, precision: str) -> Lowering | None:
    """The lowering of `precision` for `target`, or None where the target does not support it."""
    return next((one for one in LOWERINGS if (one.target, one.precision) == (target, precision)), None)
