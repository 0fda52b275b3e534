"""The bias of a Gemm as int32, which ONNX Runtime wants to make it one QGemm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ....calibration.recipe import QuantizedWeight
from .names import add_initializer, fresh

__all__ = ["LARGEST", "fit_bias", "quantize_bias"]

LARGEST = 2**30
"""How large a bias may be in int32, so that the products still fit beside it."""


def fit_bias(weight: QuantizedWeight, bias: NDArray[Any], input_scale: float) -> QuantizedWeight:
    """`weight`, with coarser scales where the bias [channels] would not fit int32 in steps of `input_scale * scale`.

    Such a channel has weights that are next to nothing beside its bias: a vocabulary's rows that no text ever used.
    """
    least = (np.abs(bias) / (input_scale * LARGEST)).astype(np.float32)
    if not (least > weight.scales).any():
        return weight
    scales = np.maximum(weight.scales, least)
    ratio = (weight.scales / scales).reshape([-1 if axis == weight.axis else 1 for axis in range(weight.values.ndim)])
    return replace(weight, values=np.rint(weight.values * ratio).astype(np.int8), scales=scales)


def quantize_bias(graph: ir.Graph, gemm: ir.Node, scales: NDArray[Any], input_scale: float) -> None:
    """`Gemm(x, w, bias)` gets its bias from `DequantizeLinear(int32, input_scale * scales)`: exact to half a step."""
    bias = gemm.inputs[2]
    assert bias is not None and bias.const_value is not None
    name, steps = f"{gemm.name}.bias", (scales * np.float32(input_scale)).astype(np.float32)
    rounded = np.rint(bias.const_value.numpy().astype(np.float64) / steps).astype(np.int32)
    values = add_initializer(graph, name, rounded)
    scale = add_initializer(graph, f"{name}.scale", steps)
    zero = add_initializer(graph, f"{name}.zero_point", np.zeros(len(steps), np.int32))
    up = ir.node("DequantizeLinear", [values, scale, zero], {"axis": 0}, name=f"{name}.DequantizeLinear")
    graph.insert_before(gemm, up)
    gemm.replace_input_with(2, fresh(up, values.shape, ir.DataType.FLOAT))
    if not bias.uses():
        del graph.initializers[str(bias.name)]
