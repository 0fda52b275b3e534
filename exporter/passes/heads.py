"""The attention operator splits and merges the heads itself."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.manifest import PassLog
from .linears import inherit
from .token_types import is_same_shape

__all__ = ["split_heads_inside"]

SWAP = (0, 2, 1, 3)
"""[batch, length, heads, size] to [batch, heads, length, size] and back."""


def split_heads_inside(model: ir.Model) -> PassLog:
    """`Attention` on 4-D inputs, each `Transpose(Reshape(q))`, becomes `Attention(q, k, v, mask)` on 3-D ones.

    `q` is [batch, length, heads * size], and so is the result: four Reshapes and four Transposes per layer go.
    On ONNX Runtime's CPU engine this is the fastest of the forms measured (docs/cpu.md).
    """
    applied = 0
    refusals: dict[str, int] = {}
    for node in list(model.graph):
        if node.op_type != "Attention" or "q_num_heads" in node.attributes:
            continue
        sources = [_before_split(value) for value in node.inputs[:3]]
        merged = _after_merge(node.outputs[0])
        heads = [_heads(value) for value in node.inputs[:2]]
        if merged is None or not all(sources) or not all(heads):
            reason = "the heads are not split and merged right around it"
        elif len(node.outputs) > 1 or len(node.inputs) > 4:
            reason = "it keeps keys and values for later"
        else:
            _replace(model.graph, node, [*sources, *node.inputs[3:]], merged, heads)
            applied += 1
            continue
        refusals[reason] = refusals.get(reason, 0) + 1
    return PassLog("split_heads_inside", applied, refusals)


def _replace(
    graph: ir.Graph, old: ir.Node, inputs: list[ir.Value | None], merged: ir.Node, heads: list[int | None]
) -> None:
    names = ("q_num_heads", "kv_num_heads")
    attributes = [ir.AttrInt64(name, count) for name, count in zip(names, heads, strict=True) if count is not None]
    new = ir.Node("", "Attention", inputs, [*old.attributes.values(), *attributes])
    inherit(old, [new])
    result = merged.outputs[0]
    new.outputs[0].shape, new.outputs[0].type = result.shape, result.type
    ir.convenience.replace_nodes_and_values(graph, merged, [merged], [new], [result], [new.outputs[0]])
    graph.remove([use.node for use in old.outputs[0].uses()] + [old], safe=True)


def _heads(value: ir.Value | None) -> int | None:
    heads = value.shape[1] if value is not None and value.shape is not None and len(value.shape) == 4 else None
    return heads if isinstance(heads, int) else None


def _before_split(value: ir.Value | None) -> ir.Value | None:
    """`q`, where `value` is `Transpose(Reshape(q, [0, 0, heads, size]))`."""
    transpose = value.producer() if value is not None else None
    if transpose is None or not _swaps(transpose) or transpose.inputs[0] is None:
        return None
    reshape = transpose.inputs[0].producer()
    if reshape is None or reshape.op_type != "Reshape":
        return None
    source = reshape.inputs[0]
    return source if source is not None and _are_heads_of(reshape.outputs[0].shape, source.shape) else None


def _after_merge(value: ir.Value) -> ir.Node | None:
    """The Reshape that ends `Reshape(Transpose(value), [0, 0, heads * size])`, if nothing else reads `value`."""
    node = _only_user(value)
    if node is None or not _swaps(node):
        return None
    merged = _only_user(node.outputs[0])
    if merged is None or merged.op_type != "Reshape":
        return None
    return merged if _are_heads_of(node.outputs[0].shape, merged.outputs[0].shape) else None


def _are_heads_of(split: ir.Shape | None, whole: ir.Shape | None) -> bool:
    """Whether `split` is known to be [batch, length, heads, size], where `whole` is [batch, length, heads * size]."""
    if split is None or whole is None or len(split) != 4 or len(whole) != 3:
        return False
    heads, size, width = split[2], split[3], whole[2]
    if not (isinstance(heads, int) and isinstance(size, int) and isinstance(width, int)) or heads * size != width:
        return False
    return is_same_shape(ir.Shape(split[:2]), ir.Shape(whole[:2]))


def _only_user(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def _swaps(node: ir.Node) -> bool:
    permutation = node.attributes.get("perm")
    return node.op_type == "Transpose" and permutation is not None and tuple(permutation.as_ints()) == SWAP
