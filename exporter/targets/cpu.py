"""ONNX Runtime's CPU engine.

In fp32 the canonical graph is the fastest of the forms measured (docs/cpu.md has the table, `make bench-forms` makes
it anew): QKV in one GEMM, MultiHeadAttention and com.microsoft.Attention are no faster than `Attention` on 3-D inputs.
What is left is to keep ONNX Runtime from undoing it. In int8, too, the plain form is the fastest
(benchmarks/int8_forms.py): Q and DQ in front of every linear layer, and its output and bias in float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from ...calibration.recipe import Recipe
from ...calibration.sites import Linear, find_linears
from ...runtime.errors import CalibrationError
from ...runtime.manifest import PassLog
from .qdq.activations import Activations, unsigned
from .qdq.biases import fit_bias, quantize_bias
from .qdq.dynamic import multiply_integers
from .qdq.embeddings import look_up_rows
from .qdq.linears import bounds_of, is_quantized, quantize_inputs
from .qdq.weights import dequantize, replace_floats, store_weights

__all__ = ["ENGINE_OPTIONS", "write_dynamic_int8", "write_int8"]

ENGINE_OPTIONS = {"disabled_optimizers": ["SkipLayerNormFusion", "BiasGeluFusion"]}
"""ONNX Runtime fuses Add with LayerNormalization, and Add with Gelu, into operators whose CPU kernels are slower."""


def write_int8(model: ir.Model, recipe: Recipe | None) -> Sequence[PassLog]:
    """Static int8: uint8 activations with zero points, int8 weights, tables looked up as int8; in place.

    ONNX Runtime makes a MatMulIntegerToFloat of every MatMul and a QGemm of every Gemm; OpenVINO int8 GEMMs. Raises
    CalibrationError without a recipe, and when a linear layer's input has no range.
    """
    if recipe is None:
        raise CalibrationError("int8 needs a recipe.", "Give texts with --calibrate.")
    graph = model.graph
    refusals = _attention_stays(graph, recipe)
    floats = replace_floats(graph, recipe)
    linears = find_linears(graph)
    gemms = _gemms(graph, linears, recipe)
    weights = dict(recipe.weights)
    for gemm, linear, scale in gemms:
        weights[linear.weight] = fit_bias(weights[linear.weight], _bias(gemm), scale)
    applied = quantize_inputs(graph, recipe, linears, Activations(graph, unsigned))
    for gemm, linear, scale in gemms:
        quantize_bias(graph, gemm, weights[linear.weight].scales, scale)
    stored = store_weights(graph, weights)
    tables = look_up_rows(graph, stored)
    return (
        PassLog("replace_floats", floats),
        PassLog("quantize_linears", applied, refusals | _kept(recipe)),
        PassLog("quantize_tables", tables),
        PassLog("quantize_weights", dequantize(graph, stored)),
    )


def write_dynamic_int8(model: ir.Model, recipe: Recipe | None) -> Sequence[PassLog]:
    """Dynamic int8, in place: the recipe's weights, and activations by what each batch holds.

    Answers depend on what else is in the batch. Raises CalibrationError without a recipe.
    """
    if recipe is None:
        raise CalibrationError("Dynamic int8 needs a recipe for its weights.", "Make one with plain_recipe.")
    graph = model.graph
    gemms = {str(node.name): "a Gemm has no dynamic form" for node in graph if node.op_type == "Gemm"}
    recipe = replace(recipe, kept={**recipe.kept, **gemms})
    floats = replace_floats(graph, recipe)
    linears = find_linears(graph)
    in_float = {linear.weight for linear in linears if linear.node in gemms}
    stored = store_weights(graph, {name: one for name, one in recipe.weights.items() if name not in in_float})
    applied = multiply_integers(graph, recipe, linears, stored, Activations(graph, unsigned))
    tables = look_up_rows(graph, stored)
    return (
        PassLog("replace_floats", floats),
        PassLog("quantize_linears", applied, _kept(recipe)),
        PassLog("quantize_tables", tables),
        PassLog("quantize_weights", dequantize(graph, stored)),
    )


def _attention_stays(graph: ir.Graph, recipe: Recipe) -> dict[str, int]:
    count = sum(node.op_type == "Attention" for node in graph)
    return {"the products inside attention have no int8 kernel here": count} if recipe.attention and count else {}


def _kept(recipe: Recipe) -> dict[str, int]:
    reasons: dict[str, int] = {}
    for reason in recipe.kept.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    return reasons


def _gemms(graph: ir.Graph, linears: tuple[Linear, ...], recipe: Recipe) -> list[tuple[ir.Node, Linear, float]]:
    """The Gemms with a bias that become int8, and the scale of their input."""
    nodes = {node.name: node for node in graph}
    return [
        (node, linear, unsigned(bounds_of(_input(node), recipe)).scale)
        for linear in linears
        if (node := nodes[linear.node]).op_type == "Gemm" and linear.bias is not None and is_quantized(linear, recipe)
    ]


def _input(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _bias(gemm: ir.Node) -> NDArray[Any]:
    value = gemm.inputs[2]
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()
