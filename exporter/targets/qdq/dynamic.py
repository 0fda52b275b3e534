"""Linear layers whose inputs are quantised anew on every run, by the range that they have in that batch."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ....calibration.recipe import Recipe
from ....calibration.sites import Linear
from .activations import Activations
from .linears import is_quantized
from .names import add_initializer, fresh
from .weights import Stored

__all__ = ["multiply_integers"]


def multiply_integers(
    graph: ir.Graph, recipe: Recipe, linears: tuple[Linear, ...], stored: dict[str, Stored], activations: Activations
) -> int:
    """`MatMul(x, w)` becomes `Cast(MatMulInteger(q, w)) * (s * scales)`, with q, s from `DynamicQuantizeLinear(x)`.

    ONNX Runtime makes that one DynamicQuantizeMatMul, with the bias in it. `x` has one scale for the whole batch, so
    that an answer depends on what else is in the batch.
    """
    nodes = {node.name: node for node in graph}
    seen: dict[str, ir.Node] = {}
    applied = 0
    for linear in linears:
        node = nodes[linear.node]
        if not is_quantized(linear, recipe) or node.op_type != "MatMul":
            continue
        source = node.inputs[0]
        assert source is not None
        source = activations.smooth(source, recipe.smooth.get(linear.input), node)
        _replace(graph, node, _quantize(graph, source, node, seen), stored[linear.weight])
        applied += 1
    return applied


def _quantize(graph: ir.Graph, value: ir.Value, before: ir.Node, seen: dict[str, ir.Node]) -> ir.Node:
    name = str(value.name)
    if name not in seen:
        node = ir.node("DynamicQuantizeLinear", [value], name=f"{name}.DynamicQuantizeLinear", num_outputs=3)
        types = ((ir.DataType.UINT8, value.shape), (ir.DataType.FLOAT, ir.Shape([])), (ir.DataType.UINT8, ir.Shape([])))
        for output, part, (dtype, shape) in zip(node.outputs, ("", ".scale", ".zero_point"), types, strict=True):
            output.name, output.dtype, output.shape = f"{node.name}{part}", dtype, shape
        graph.insert_before(before, node)
        seen[name] = node
    return seen[name]


def _replace(graph: ir.Graph, node: ir.Node, quantized: ir.Node, weight: Stored) -> None:
    values, scale, zero = quantized.outputs
    name, output = str(node.name), node.outputs[0]
    assert weight.scales.shape is not None
    weight_zero = add_initializer(
        graph, f"{weight.values.name}.zero_point", np.zeros(weight.scales.shape.numpy(), np.int8)
    )
    product = ir.node("MatMulInteger", [values, weight.values, zero, weight_zero], name=f"{name}.integers")
    fresh(product, output.shape, ir.DataType.INT32)
    floats = ir.node("Cast", [product.outputs[0]], {"to": ir.DataType.FLOAT}, name=f"{name}.Cast")
    fresh(floats, output.shape, ir.DataType.FLOAT)
    scales = ir.node("Mul", [scale, weight.scales], name=f"{name}.scale")
    fresh(scales, weight.scales.shape, ir.DataType.FLOAT)
    scaled = ir.node("Mul", [floats.outputs[0], scales.outputs[0]], name=f"{name}.Mul")
    fresh(scaled, output.shape, ir.DataType.FLOAT)
    new = [product, floats, scales, scaled]
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [output], [scaled.outputs[0]])
