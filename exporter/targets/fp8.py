"""FP8 (E4M3) for TensorRT: Q/DQ nodes around the products, everything else in the type that they stand in.

A float of 8 bits has as many steps near zero as near its largest number, so a scale is simply the largest value seen
over the largest number; nothing is clipped, and zero points are zero.
Micikevicius et al., "FP8 formats for deep learning", arXiv 2209.05433.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...calibration.ranges import Ranges
from ...calibration.sites import Linear, find_linears
from ...runtime.errors import CalibrationError
from ...runtime.manifest import PassLog
from .attention import Parts, take_apart
from .scales import BF16_DIGITS, round_up

__all__ = ["LARGEST", "quantize_fp8"]

LARGEST = 448.0
"""The largest number of E4M3."""

_E4M3 = ir.DataType.FLOAT8E4M3FN


def quantize_fp8(
    model: ir.Model, ranges: Ranges, kept: Collection[str] = (), attention: bool = False
) -> tuple[PassLog, ...]:
    """`MatMul(x, w)` becomes `MatMul(DQ(Q(x)), DQ(w))` with `w` stored as float8e4m3fn, in place.

    Inputs have one scale each, weights one per output channel; a weight that several nodes read (ALBERT's) is stored
    and dequantised once. Nodes in `kept` are left alone, and so is a weight of which something else is made, such as
    an embedding table. With `attention` its two products are fp8 too: that takes Attention apart.
    Raises CalibrationError, naming it, for an input that `ranges` do not have.
    """
    graph = model.graph
    refusals: dict[str, int] = {}
    chosen = [one for one in find_linears(graph) if not _refuse(graph, one, kept, refusals)]
    writer = _Writer(graph)
    nodes = {str(node.name): node for node in graph}
    for linear in chosen:
        node = nodes[linear.node]
        node.replace_input_with(0, writer.quantize(_input(node, 0), _peak(ranges.peaks, linear.input), node))
        writer.store(_input(node, 1), linear.axis)
    logs = [PassLog("quantize_linears_fp8", len(chosen), refusals)]
    if attention:
        found = [str(node.name) for node in graph if node.op_type == "Attention" and node.name not in kept]
        inputs = {name: [str(_input(nodes[name], index).name) for index in range(3)] for name in found}
        for name, parts in take_apart(graph, found).items():
            _quantize_attention(writer, parts, [_peak(ranges.peaks, one) for one in inputs[name]])
        logs.append(PassLog("quantize_attention_fp8", len(found)))
    return tuple(logs)


def _refuse(graph: ir.Graph, linear: Linear, kept: Collection[str], refusals: dict[str, int]) -> bool:
    readers = {use.node.op_type for use in graph.initializers[linear.weight].uses()}
    if linear.node in kept:
        reason = "it is kept in a higher precision"
    elif not readers <= {"MatMul", "Gemm"}:
        reason = "its weight is looked up as well"
    else:
        return False
    refusals[reason] = refusals.get(reason, 0) + 1
    return True


def _quantize_attention(writer: _Writer, parts: Parts, peaks: list[float]) -> None:
    """Q/DQ on the scaled queries, the transposed keys, the values, and the weights, which are 1 at most."""
    query, key, value = peaks
    scale = _maker_scalar(parts.query)
    for node, index, source, peak in (
        (parts.scores, 0, parts.query, query * scale),
        (parts.scores, 1, parts.key, key),
        (parts.product, 0, parts.weights, 1.0),
        (parts.product, 1, parts.value, value),
    ):
        node.replace_input_with(index, writer.quantize(source, peak, node))


def _maker_scalar(scaled: ir.Value) -> float:
    """What the queries are multiplied by."""
    node = scaled.producer()
    tensor = ir.convenience.get_const_tensor(node.inputs[1]) if node is not None and node.inputs[1] else None
    assert tensor is not None
    return float(tensor.numpy().item())


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def _peak(peaks: Mapping[str, float], name: str) -> float:
    if name not in peaks:
        raise CalibrationError(
            f"The calibration ranges say nothing of {name}, which fp8 needs.", "Calibrate this very graph again."
        )
    return float(peaks[name])


class _Writer:
    """Writes each tensor's Q/DQ pair and each weight once, however many nodes read it."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._done: dict[str, ir.Value] = {}
        self._zeros: dict[int, ir.Value] = {}

    def quantize(self, source: ir.Value, peak: float, before: ir.Node) -> ir.Value:
        """`DQ(Q(source))`, the two nodes in front of `before`."""
        name = str(source.name)
        if name not in self._done:
            scale = self._add(f"{name}.scale", _scales(np.array(peak)))
            zero = self._zero(f"{name}.zero_point", ())
            down = ir.node("QuantizeLinear", [source, scale, zero], {"axis": 0}, name=f"{name}.QuantizeLinear")
            _describe(down, _E4M3, source.shape)
            self._graph.insert_before(before, down)
            self._done[name] = self._dequantize(down.outputs[0], scale, zero, 0, before, name)
        return self._done[name]

    def store(self, weight: ir.Value, axis: int) -> None:
        """The weight in its own place as float8e4m3fn with a scale for each index along `axis`; all read `DQ(weight)`.

        A node that is kept reads it so too, where others share its weight: it is stored once.
        """
        if weight.producer() is not None:
            return
        assert weight.const_value is not None
        name, numbers, readers = str(weight.name), weight.const_value.numpy(), list(weight.uses())
        scales = _scales(np.abs(numbers).max(axis=1 - axis, initial=0.0))
        steps = numbers / np.expand_dims(scales, 1 - axis)
        # A number beyond the largest would become NaN, and rounding can lead half a step beyond.
        values = np.clip(steps, -LARGEST, LARGEST).astype(_E4M3.numpy())
        weight.const_value = ir.Tensor(values, dtype=_E4M3, name=name)
        # Not its dtype alone: the type is an object that the copies of a graph share.
        weight.type = ir.TensorType(_E4M3)
        scale = self._add(f"{name}.scale", scales)
        zero = self._zero(f"{name}.zero_point", scales.shape)
        result = self._dequantize(weight, scale, zero, axis, self._graph[0], name)
        for node, index in readers:
            node.replace_input_with(index, result)

    def _dequantize(
        self, source: ir.Value, scale: ir.Value, zero: ir.Value, axis: int, before: ir.Node, name: str
    ) -> ir.Value:
        node = ir.node("DequantizeLinear", [source, scale, zero], {"axis": axis}, name=f"{name}.DequantizeLinear")
        self._graph.insert_before(before, node)
        return _describe(node, ir.DataType.FLOAT, source.shape)

    def _zero(self, name: str, shape: tuple[int, ...]) -> ir.Value:
        return self._add(name, np.zeros(shape, _E4M3.numpy()))

    def _add(self, name: str, array: NDArray[Any]) -> ir.Value:
        tensor = ir.Tensor(array, name=name)
        value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._graph.register_initializer(value)
        return value


def _scales(peaks: NDArray[Any]) -> NDArray[Any]:
    """`peaks / LARGEST`, rounded up to what fp16 and bf16 both hold exactly.

    A scale that its graph rounds would be another one than the weights were divided by, or zero.
    """
    return round_up(peaks.astype(np.float64) / LARGEST, BF16_DIGITS)


def _describe(node: ir.Node, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
    output = node.outputs[0]
    output.name, output.dtype, output.shape = node.name, dtype, shape
    return output
