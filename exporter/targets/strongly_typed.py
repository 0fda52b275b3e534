"""TensorRT's graphs in fp32, fp16, bf16 and fp8: the type of every value is written down, none is chosen by the engine.

fp8 stands in a graph of fp16, as int8 does. TensorRT has no kernel for Attention in float32, nor for heads that are
narrower than 16, wider than 256, or no multiple of 8; where it would find one, the operator is taken apart.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx_ir as ir

from ...calibration.recipe import Recipe
from ...runtime.errors import CalibrationError
from ...runtime.manifest import PassLog
from ..checker.attention import LARGEST_HEAD, SMALLEST_HEAD
from .attention import head_size, take_apart
from .evidence import find_kept
from .fp8 import quantize_fp8
from .half import BF16, FP16, HalfType, narrow

__all__ = ["narrow_strongly", "write_bf16", "write_fp8", "write_fp16", "write_fp32"]


def write_fp32(model: ir.Model, recipe: Recipe | None = None) -> Sequence[PassLog]:
    """Every Attention is taken apart, in place. The recipe is not read."""
    return (_take_apart(model.graph, {str(node.name) for node in model.graph if node.op_type == "Attention"})[0],)


def write_fp16(model: ir.Model, recipe: Recipe | None = None) -> Sequence[PassLog]:
    """fp16, except what the recipe's ranges say that it cannot hold, in place. Without a recipe only weights say it."""
    return _write_half(model, FP16, recipe)


def write_bf16(model: ir.Model, recipe: Recipe | None = None) -> Sequence[PassLog]:
    """bf16, whose range is that of float32, in place."""
    return _write_half(model, BF16, recipe)


def write_fp8(model: ir.Model, recipe: Recipe | None) -> Sequence[PassLog]:
    """fp8 for the linear layers, and for attention where the recipe says so, in a graph of fp16, in place.

    What fp16 cannot hold stays float32 and unquantised. Of the recipe only the ranges count: its weights, its smoothing
    and its decisions are int8's. Raises CalibrationError without a recipe, and where its ranges lack an input.
    """
    if recipe is None:
        raise CalibrationError("fp8 needs the ranges of a calibration.", "Give texts with --calibrate.")
    kept = find_kept(model.graph, FP16, recipe.ranges).reasons()
    logs = quantize_fp8(model, recipe.ranges, kept, recipe.attention)
    return (*logs, *narrow_strongly(model, FP16, kept))


def narrow_strongly(model: ir.Model, kind: HalfType, kept: Collection[str]) -> Sequence[PassLog]:
    """`narrow`, with every Attention taken apart for which TensorRT has no kernel; the parts of a kept one are kept."""
    graph = model.graph
    without = {
        str(node.name)
        for node in graph
        if node.op_type == "Attention" and (node.name in kept or not _has_kernel(head_size(node)))
    }
    log, parts = _take_apart(graph, without, kept)
    return log, narrow(model, kind, {*kept, *parts})


def _write_half(model: ir.Model, kind: HalfType, recipe: Recipe | None) -> Sequence[PassLog]:
    ranges = None if recipe is None else recipe.ranges
    return narrow_strongly(model, kind, find_kept(model.graph, kind, ranges).reasons())


def _has_kernel(size: int | None) -> bool:
    return size is None or (size % 8 == 0 and SMALLEST_HEAD <= size <= LARGEST_HEAD)


def _take_apart(graph: ir.Graph, names: Collection[str], kept: Collection[str] = ()) -> tuple[PassLog, set[str]]:
    """What was done, and the names of the parts of those in `kept`."""
    found = take_apart(graph, names)
    parts = {str(node.name) for name, one in found.items() if name in kept for node in one.nodes}
    left = len(names) - len(found)
    refusals = {"its inputs are not [batch, length, width]": left} if left else {}
    return PassLog("take_attention_apart", len(found), refusals), parts
