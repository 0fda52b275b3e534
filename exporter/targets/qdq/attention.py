"""The two products of attention in int8, in the one pattern that TensorRT fuses."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ....calibration.recipe import Recipe
from ....runtime.manifest import PassLog
from ..attention import Parts, head_size, take_apart
from .activations import Activations
from .linears import bounds_of
from .names import add_initializer, fresh

__all__ = ["FUSED_HEADS", "quantize_attention"]

FUSED_HEADS = (16, 32, 64)
"""Head sizes for which TensorRT has an int8 kernel; any other would run as single products, slower than in fp16."""

_SHARES = (0.0, 1.0)
"""What a softmax can give, so that its scale needs no calibration."""


def quantize_attention(graph: ir.Graph, recipe: Recipe, activations: Activations) -> PassLog:
    """`Attention(q, k, v, mask)` becomes its products with Q and DQ on q, k, v, the softmax and the result.

    With all five TensorRT fuses the whole, for profiles up to 512 tokens; with any four, or with anything between the
    softmax and its Q, it fuses nothing. So a row without a single key is made zero behind the result. A node that is
    kept, or whose heads have another size, stays as it is, and the log says why. Raises CalibrationError when one of
    the five has no range.
    """
    refusals: dict[str, int] = {}
    chosen: dict[str, tuple[tuple[float, float], ...]] = {}
    for node in graph:
        if node.op_type != "Attention":
            continue
        if reason := _refuse(node, recipe):
            refusals[reason] = refusals.get(reason, 0) + 1
            continue
        values = [*node.inputs[:3], node.outputs[0]]
        chosen[str(node.name)] = tuple(bounds_of(value, recipe) for value in values if value is not None)
    for name, parts in take_apart(graph, chosen).items():
        query, key, value, result = chosen[name]
        scale, mask = _factor(parts.query), _skip_mask(parts)
        for product, index, bounds in (
            (parts.scores, 0, (query[0] * scale, query[1] * scale)),
            (parts.scores, 1, key),
            (parts.product, 0, _SHARES),
            (parts.product, 1, value),
        ):
            source = product.inputs[index]
            assert source is not None
            product.replace_input_with(index, activations.quantize(source, bounds, product))
        _round_result(graph, parts.product.outputs[0], result, mask, activations)
    return PassLog("quantize_attention", len(chosen), refusals)


def _refuse(node: ir.Node, recipe: Recipe) -> str:
    if node.name in recipe.kept:
        return recipe.kept[str(node.name)]
    size = head_size(node)
    query = node.inputs[0]
    if size is None or query is None or query.shape is None or len(query.shape) != 3:
        return "it is not attention of 3-D inputs with a known head size"
    if size not in FUSED_HEADS:
        return f"its heads are {size} wide; int8 attention is fused for {', '.join(map(str, FUSED_HEADS))}"
    return ""


def _skip_mask(parts: Parts) -> ir.Value | None:
    """The second product reads the softmax itself; what was to mask its shares a second time goes, and is returned."""
    node = parts.weights.producer()
    if node is None or node.op_type != "Where":
        return None
    mask, shares = node.inputs[:2]
    parts.product.replace_input_with(0, shares)
    assert node.graph is not None
    node.graph.remove(node, safe=True)
    return mask


def _round_result(
    graph: ir.Graph, value: ir.Value, bounds: tuple[float, float], mask: ir.Value | None, activations: Activations
) -> None:
    """Whatever reads the second product reads it from its grid, and zero for a row that is masked as a whole."""
    uses = list(value.uses())
    rounded = activations.quantize(value, bounds, uses[0].node)
    if mask is not None:
        product = ir.node("Mul", [rounded, _seeing(graph, mask, value, uses[0].node)], name=f"{value.name}.seen")
        graph.insert_before(uses[0].node, product)
        rounded = fresh(product, value.shape, rounded.dtype or ir.DataType.FLOAT)
    for use in uses:
        use.node.replace_input_with(use.idx, rounded)


def _seeing(graph: ir.Graph, mask: ir.Value, like: ir.Value, before: ir.Node) -> ir.Value:
    """1 for every row of `mask` [batch, 1, rows, keys] that sees a key, 0 for the others; written once for all."""
    for use in mask.uses():
        reader = use.node.outputs[0]
        if use.node.op_type == "Cast" and reader.name == f"{mask.name}.shown":
            return reader.consumers()[0].outputs[0]
    dtype = like.dtype or ir.DataType.FLOAT
    shape = ir.Shape(mask.shape) if mask.shape is not None else None
    cast = ir.node("Cast", [mask], {"to": dtype}, name=f"{mask.name}.shown")
    last = add_initializer(graph, "last_axis", np.array([-1], np.int64))
    most = ir.node("ReduceMax", [fresh(cast, shape, dtype), last], {"keepdims": 1}, name=f"{mask.name}.seeing")
    graph.insert_before(before, [cast, most])
    return fresh(most, ir.Shape([*shape[:-1], 1]) if shape is not None else None, dtype)


def _factor(scaled: ir.Value) -> float:
    """What the queries are multiplied by."""
    node = scaled.producer()
    tensor = ir.convenience.get_const_tensor(node.inputs[1]) if node is not None and node.inputs[1] else None
    assert tensor is not None
    return float(tensor.numpy().item())
