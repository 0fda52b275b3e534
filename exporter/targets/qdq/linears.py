"""Linear layers read their input from an 8-bit grid; their weights are int8 already."""

from __future__ import annotations

from collections.abc import Container

import onnx_ir as ir

from ....calibration.recipe import Recipe
from ....calibration.sites import Linear
from ....runtime.errors import CalibrationError
from .activations import Activations

__all__ = ["bounds_of", "is_quantized", "quantize_inputs"]


def quantize_inputs(graph: ir.Graph, recipe: Recipe, linears: tuple[Linear, ...], activations: Activations) -> int:
    """`MatMul(x, w)` becomes `MatMul(DQ(Q(x)), w)` wherever `w` is of the recipe and the node is not kept.

    A layer that is kept computes in float; where its weight is int8 all the same (ALBERT's, which other uses share),
    it reads it dequantised, and its input is smoothed as the weight was. Returns how many layers are quantised.
    Raises CalibrationError when one's input has no range.
    """
    nodes = {node.name: node for node in graph}
    applied = 0
    for linear in linears:
        if linear.weight not in recipe.weights:
            continue
        node = nodes[linear.node]
        source = node.inputs[0]
        assert source is not None
        smoothed = activations.smooth(source, recipe.smooth.get(_seen(source, recipe.smooth)), node)
        if is_quantized(linear, recipe):
            smoothed = activations.quantize(smoothed, bounds_of(source, recipe), node)
            applied += 1
        node.replace_input_with(0, smoothed)
    return applied


def is_quantized(linear: Linear, recipe: Recipe) -> bool:
    """Whether the recipe wants this linear layer in int8."""
    return linear.weight in recipe.weights and linear.node not in recipe.kept


def bounds_of(value: ir.Value, recipe: Recipe) -> tuple[float, float]:
    """The range of what stands for `value` on the 8-bit grid: that of its product with the smoothing vector, if any.

    Raises CalibrationError when it was never seen.
    """
    name = _seen(value, recipe.ranges.bounds)
    if name not in recipe.ranges.bounds:
        raise CalibrationError(f"{value.name} has no range in the recipe.", "Calibrate this model again.")
    return recipe.ranges.bounds[name]


def _seen(value: ir.Value, known: Container[str]) -> str:
    """The name that `value` had in the canonical graph: a conversion to float16 puts a Cast behind what was there."""
    name, node = str(value.name), value.producer()
    if name in known or node is None or node.op_type != "Cast" or node.inputs[0] is None:
        return name
    return _seen(node.inputs[0], known)
