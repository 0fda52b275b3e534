"""The lowerings: one file per target, each saying what its engine wants the canonical graph to look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from ...calibration.recipe import Recipe
from ...runtime.manifest import PassLog
from . import cpu, cuda, strongly_typed, tensorrt
from .evidence import find_kept
from .half import BF16, FP16, HalfType

__all__ = ["CANONICAL_FILE", "GPU", "LOWERINGS", "Lowering", "Rewrite", "find_lowering"]

Rewrite = Callable[[ir.Model, Recipe | None], Sequence[PassLog]]
"""Lowers a copy of the canonical graph in place. It raises CalibrationError where it needs a recipe and gets None."""


@dataclass(frozen=True)
class Lowering:
    """One precision for one target.

    `rewrite` is None where the canonical graph is the fastest form there is, so that its one file serves.
    `engine_options` are what the engine has to be told. `portable` is the name under which other tools look for the
    file, where they can run it. `kind` is the type of 16 bits of whatever is not integers, None where that is float32.
    `batch_dependent` says that an answer depends on what else is in the batch, which is never chosen unless it is
    asked for by name.
    """

    target: str
    precision: str
    rewrite: Rewrite | None
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    portable: str = ""
    kind: HalfType | None = None
    batch_dependent: bool = False

    @property
    def key(self) -> str:
        """The variant's key, such as `int8/cpu`."""
        return f"{self.precision}/{self.target}"

    @property
    def file(self) -> str:
        """Where in the bundle the variant lies."""
        if self.rewrite is None:
            return CANONICAL_FILE
        return self.portable or f"onnx/{self.target}/{self.precision}.onnx"

    def explain(self, graph: ir.Graph, recipe: Recipe) -> tuple[dict[str, str], dict[str, Any]]:
        """What of the canonical graph stays in higher precision, and why; and what was looked at to find that."""
        if self.kind is None:
            return dict(recipe.kept), {}
        evidence = find_kept(graph, self.kind, recipe.ranges)
        return {**recipe.kept, **evidence.reasons()}, evidence.to_dict()


CANONICAL_FILE = "onnx/model.onnx"


LOWERINGS: tuple[Lowering, ...] = (
    Lowering("cpu", "fp32", None, cpu.ENGINE_OPTIONS),
    Lowering("cpu", "int8", cpu.write_int8, cpu.ENGINE_OPTIONS, portable="onnx/model_int8.onnx"),
    Lowering("cpu", "int8-dynamic", cpu.write_dynamic_int8, cpu.ENGINE_OPTIONS, batch_dependent=True),
    Lowering("cuda", "fp32", None),
    Lowering("cuda", "fp16", cuda.write_fp16, portable="onnx/model_fp16.onnx", kind=FP16),
    Lowering("tensorrt", "fp32", strongly_typed.write_fp32),
    Lowering("tensorrt", "fp16", strongly_typed.write_fp16, kind=FP16),
    Lowering("tensorrt", "bf16", strongly_typed.write_bf16, kind=BF16),
    Lowering("tensorrt", "int8", tensorrt.write_int8, kind=FP16),
    Lowering("tensorrt", "fp8", strongly_typed.write_fp8, kind=FP16),
)
"""Those that an export offers. What is written for a GPU needs the recipe too: for what fp16 cannot hold."""


def find_lowering(target: str, precision: str) -> Lowering | None:
    """The lowering of `precision` for `target`, or None where the target does not support it."""
    return next((one for one in LOWERINGS if (one.target, one.precision) == (target, precision)), None)
