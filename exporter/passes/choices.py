"""The axis of choices, which a model that chooses between texts adds and takes away again, is gone."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.manifest import PassLog
from .linears import inherit
from .token_types import is_same_shape

__all__ = ["drop_choices"]


def drop_choices(model: ir.Model) -> PassLog:
    """`Reshape(Unsqueeze(x, …), …)` and `Reshape(x, …)`, whose result has the shape of `x`, become `Identity(x)`.

    Neither operator moves an element, so a tensor of the same shape is the same tensor. The folding that comes next
    removes the Identity, and what nobody reads any more.
    """
    applied = 0
    refusals: dict[str, int] = {}
    for node in list(model.graph):
        if node.op_type != "Reshape":
            continue
        result = node.outputs[0]
        source = next((value for value in _before(node) if is_same_shape(value.shape, result.shape)), None)
        if source is None:
            if len(_before(node)) > 1:
                reason = "the result is not known to have the shape that it had before the Unsqueeze"
                refusals[reason] = refusals.get(reason, 0) + 1
            continue
        same = ir.node("Identity", [source])
        inherit(node, [same])
        same.outputs[0].shape, same.outputs[0].type = result.shape, result.type
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], [same], [result], [same.outputs[0]])
        applied += 1
    return PassLog("drop_choices", applied, refusals)


def _before(reshape: ir.Node) -> list[ir.Value]:
    """What is reshaped, and what it was before it got another axis."""
    found = [value for value in reshape.inputs[:1] if value is not None]
    widened = found[0].producer() if found else None
    if widened is not None and widened.op_type == "Unsqueeze":
        found += [value for value in widened.inputs[:1] if value is not None]
    return found
