"""Weights as int8, each stored once and read through one DequantizeLinear, however often it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ....calibration.recipe import QuantizedWeight, Recipe
from .names import add_initializer, fresh, replace_initializer

__all__ = ["Stored", "dequantize", "replace_floats", "store_weights"]

_READ_INTEGERS = ("Gather", "MatMulInteger")


@dataclass(frozen=True)
class Stored:
    """A weight in the graph: its int8 initializer, its scales [channels] in the float type of the graph, their axis."""

    values: ir.Value
    scales: ir.Value
    axis: int


def store_weights(graph: ir.Graph, weights: Mapping[str, QuantizedWeight]) -> dict[str, Stored]:
    """Put the int8 values in the place of every float weight, for all its readers.

    The graph is whole again when `dequantize` and embeddings.look_up_rows have changed the readers.
    """
    found = {}
    for name, weight in weights.items():
        dtype = graph.initializers[name].dtype or ir.DataType.FLOAT
        scales = add_initializer(graph, f"{name}.scale", _positive(weight.scales, dtype))
        found[name] = Stored(replace_initializer(graph, name, weight.values), scales, weight.axis)
    return found


def dequantize(graph: ir.Graph, stored: Mapping[str, Stored]) -> int:
    """Every weight that something reads as floats gets one `DequantizeLinear(weight, scales, 0)` for all of that.

    The zero point is written although it is zero, and the axis although it may be the default: ONNX Runtime wants the
    one to fuse, TensorRT's versions differ about the other. Returns how many there are.
    """
    places = {node: index for index, node in enumerate(graph)}
    applied = 0
    for name, weight in stored.items():
        uses = [use for use in weight.values.uses() if use.node.op_type not in _READ_INTEGERS]
        uses.sort(key=lambda use: places[use.node])
        if not uses:
            continue
        assert weight.scales.shape is not None and weight.scales.dtype is not None
        zero = add_initializer(graph, f"{name}.zero_point", np.zeros(weight.scales.shape.numpy(), np.int8))
        inputs = [weight.values, weight.scales, zero]
        up = ir.node("DequantizeLinear", inputs, {"axis": weight.axis}, name=f"{name}.DequantizeLinear")
        value = fresh(up, weight.values.shape, weight.scales.dtype)
        for use in uses:
            use.node.replace_input_with(use.idx, value)
        graph.insert_before(uses[0].node, up)
        applied += 1
    return applied


def replace_floats(graph: ir.Graph, recipe: Recipe) -> int:
    """Store the corrected biases and the weights that exact smoothing changed; how many there were."""
    changed = {**recipe.replaced, **recipe.biases}
    for name, array in changed.items():
        dtype = graph.initializers[name].dtype or ir.DataType.FLOAT
        replace_initializer(graph, name, array.astype(dtype.numpy()))
    return len(changed)


def _positive(scales: NDArray[Any], dtype: ir.DataType) -> NDArray[Any]:
    """In the graph's float type and positive there: a float32 scale below the smallest float16 would become zero."""
    smallest = float(np.finfo(dtype.numpy()).smallest_subnormal)
    found: NDArray[Any] = np.maximum(scales, smallest).astype(dtype.numpy())
    return found
