"""The mask is expanded once and shared by all layers."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.manifest import PassLog
from .constants import constant
from .linears import inherit

__all__ = ["expand_mask_once"]


def expand_mask_once(model: ir.Model) -> PassLog:
    """`Expand(Unsqueeze(Unsqueeze(keys, 1), 1), …)` becomes `Expand(Unsqueeze(keys, [1, 2]), [1, 1, length, 1])`.

    `keys` is bool(attention_mask), [batch, length].
    The result is bool [batch, 1, length, length], true where a key may be attended to. Expand broadcasts both
    ways, so only the length of the queries has to be known.
    """
    mask = next((value for value in model.graph.inputs if value.name == "attention_mask"), None)
    masks = {
        node.inputs[3]
        for node in model.graph
        if node.op_type == "Attention" and len(node.inputs) > 3 and node.inputs[3] is not None
    }
    if mask is None or len(masks) != 1:
        reason = "the layers read several masks" if masks else "no layer reads a mask"
        return PassLog("expand_mask_once", 0, {reason: max(1, len(masks))})
    expand = masks.pop().producer()
    allowed = _comes_from(expand, mask) if expand is not None and expand.op_type == "Expand" else None
    if expand is None or allowed is None:
        return PassLog("expand_mask_once", 0, {"the mask is more than a reshaped attention_mask": 1})
    if _is_done(expand):
        return PassLog("expand_mask_once", 0)
    axes = ir.node("Constant", [], {"value_ints": [1, 2]})
    keys = ir.node("Unsqueeze", [allowed, axes.outputs[0]])
    length = ir.node("Shape", [mask], {"start": 1, "end": 2})
    ones = ir.node("Constant", [], {"value_ints": [1, 1]})
    one = ir.node("Constant", [], {"value_ints": [1]})
    shape = ir.node("Concat", [ones.outputs[0], length.outputs[0], one.outputs[0]], {"axis": 0})
    whole = ir.node("Expand", [keys.outputs[0], shape.outputs[0]])
    added = [axes, keys, length, ones, one, shape, whole]
    inherit(expand, added)
    whole.outputs[0].shape, whole.outputs[0].type = expand.outputs[0].shape, expand.outputs[0].type
    ir.convenience.replace_nodes_and_values(
        model.graph, expand, [expand], added, [expand.outputs[0]], [whole.outputs[0]]
    )
    return PassLog("expand_mask_once", 1)


def _comes_from(expand: ir.Node, mask: ir.Value) -> ir.Value | None:
    """The bool [batch, length] that `expand` reads as [batch, 1, 1, length], if it is `mask` and nothing else."""
    value = expand.inputs[0]
    added: list[list[int]] = []
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Cast" and node.inputs[0] is mask and node.attributes["to"].as_int() == ir.DataType.BOOL:
            return value if _place(added) == ["batch", "", "", "length"] else None
        places = constant(node.inputs[1]) if node.op_type == "Unsqueeze" else None
        if places is None:
            return None
        added.insert(0, places)
        value = node.inputs[0]
    return None


def _place(added: list[list[int]]) -> list[str]:
    """Where the axes of a mask are after one Unsqueeze after the other, each with its places."""
    axes = ["batch", "length"]
    for places in added:
        rank = len(axes) + len(places)
        for place in sorted(place % rank for place in places):
            axes.insert(place, "")
    return axes


def _is_done(expand: ir.Node) -> bool:
    """Whether the shape is spelt [1, 1, length, 1] already."""
    shape = expand.inputs[1].producer() if expand.inputs[1] is not None else None
    if shape is None or shape.op_type != "Concat" or len(shape.inputs) != 3:
        return False
    return constant(shape.inputs[0]) == [1, 1] and constant(shape.inputs[2]) == [1]
