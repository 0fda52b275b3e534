"""TensorRT, strongly typed: the precision of every operator is written in the graph.

Its int8 is symmetric, in an fp16 graph: Q and DQ in front of every linear layer, weights int8 right before their DQ.
Embedding tables stay fp16: an int8 table may be read by nothing but a DequantizeLinear, which would turn the whole
vocabulary into floats on every run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import onnx_ir as ir

from ...calibration.recipe import Recipe
from ...calibration.sites import find_linears
from ...runtime.errors import CalibrationError
from ...runtime.manifest import PassLog
from .evidence import find_kept
from .half import FP16, HalfType
from .qdq.activations import Activations, signed
from .qdq.attention import quantize_attention
from .qdq.linears import quantize_inputs
from .qdq.weights import dequantize, replace_floats, store_weights
from .strongly_typed import narrow_strongly

__all__ = ["quantize", "write_int8"]


def write_int8(model: ir.Model, recipe: Recipe | None, kind: HalfType = FP16) -> Sequence[PassLog]:
    """int8 where the recipe says so and `kind` elsewhere, in place; what `kind` cannot hold stays float32.

    Raises CalibrationError without a recipe, and when a value that becomes int8 has no range.
    """
    if recipe is None:
        raise CalibrationError("int8 needs a recipe.", "Give texts with --calibrate.")
    kept = find_kept(model.graph, kind, recipe.ranges).reasons()
    # A linear layer may be int8 between float32 scales; the products of an attention in int8 have no such form.
    whole = {name: kept[name] for name in _attentions(model.graph) if name in kept}
    logs = quantize(model, replace(recipe, kept={**recipe.kept, **whole}))
    return (*logs, *narrow_strongly(model, kind, kept))


def quantize(model: ir.Model, recipe: Recipe) -> Sequence[PassLog]:
    """Write the recipe into a graph of any float type, in place: symmetric int8, scales in the graph's type."""
    graph = model.graph
    tables = _looked_up(graph)
    linears = find_linears(graph)
    decoders = {one.node: "its weight is looked up as well" for one in linears if one.weight in tables}
    recipe = replace(
        recipe,
        weights={name: weight for name, weight in recipe.weights.items() if name not in tables},
        kept={**recipe.kept, **decoders},
    )
    floats = replace_floats(graph, recipe)
    activations = Activations(graph, signed)
    logs = [PassLog("replace_floats", floats)]
    applied = quantize_inputs(graph, recipe, linears, activations)
    logs.append(
        PassLog(
            "quantize_linears", applied, _count(recipe.kept[one.node] for one in linears if one.node in recipe.kept)
        )
    )
    if recipe.attention:
        logs.append(quantize_attention(graph, recipe, activations))
    logs.append(PassLog("quantize_weights", dequantize(graph, store_weights(graph, recipe.weights))))
    return tuple(logs)


def _attentions(graph: ir.Graph) -> list[str]:
    return [str(node.name) for node in graph if node.op_type == "Attention"]


def _looked_up(graph: ir.Graph) -> set[str]:
    return {str(node.inputs[0].name) for node in graph if node.op_type == "Gather" and node.inputs[0] is not None}


def _count(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(reasons))
