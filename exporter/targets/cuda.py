"""ONNX Runtime on a GPU. It has kernels for Attention in float32 and in fp16, so that no operator is taken apart."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ...calibration.recipe import Recipe
from ...runtime.manifest import PassLog
from .evidence import find_kept
from .half import FP16, narrow

__all__ = ["write_fp16"]


def write_fp16(model: ir.Model, recipe: Recipe | None = None) -> Sequence[PassLog]:
    """fp16, except what the recipe's ranges say that it cannot hold, in place. Without a recipe only weights say it."""
    ranges = None if recipe is None else recipe.ranges
    return (narrow(model, FP16, find_kept(model.graph, FP16, ranges).reasons()),)
