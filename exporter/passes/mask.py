"""The mask is expanded once and shared by all layers."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.manifest import PassLog
from .linears import inherit

__all__ = ["expand_mask_once"]


def expand_mask_once(model: ir.Model) -> PassLog:
    """`Expand(Unsqueeze(Unsqueeze(bool(mask), 1), 1), …)` becomes `Expand(Unsqueeze(bool(mask), [1, 2]), [1, 1, length, 1])`.

    The result is bool [batch, 1, length, length], true where a key may be attended to. Expand broadcasts both
    ways, so only the length of the queries has to be known.
    """
    mask = next((value for value in model.graph.inputs if value.name == "attention_mask"), None)
    expands = {
        node.inputs[3].producer()
        for node in model.graph
        if node.op_type == "Attention" and len(node.inputs) > 3 and node.inputs[3] is not None
    }
    if mask is None or len(expands) != 1:
        return PassLog("expand_mask_once", 0, {"the layers do not read one mask": len(expands)})
    expand = expands.pop()
    allowed = _comes_from(expand, mask) if expand is not None and expand.op_type == "Expand" else None
    if expand is None or allowed is None:
        return PassLog("expand_mask_once", 0, {"the mask is more than a reshaped attention_mask": 1})
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
    """The bool [batch, length] under `expand`, if nothing but axes of size 1 was added to `mask` on the way."""
    value = expand.inputs[0]
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Cast" and node.inputs[0] is mask:
            return value
        if node.op_type != "Unsqueeze":
            return None
        value = node.inputs[0]
    return None
