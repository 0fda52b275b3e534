"""Heads are split and merged without asking for the shape."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.manifest import PassLog
from .constants import constant
from .linears import inherit

__all__ = ["fix_reshapes"]


def fix_reshapes(model: ir.Model) -> PassLog:
    """`Reshape(x, [batch, length, c, …])`, with `x` [batch, length, …], becomes `Reshape(x, [0, 0, c, …])`.

    A 0 copies the dimension from `x`. Which values are the batch and the length is read from the shapes that the
    capture proved, so a Reshape of anything else is left alone.
    """
    applied = _keep_lengths_as_vectors(model.graph)
    refusals: dict[str, int] = {}
    for node in list(model.graph):
        if node.op_type != "Reshape" or constant(node.inputs[1]) is not None:
            continue
        wanted = _copied(node.inputs[0], node.outputs[0])
        if wanted is None:
            reason = "the leading dimensions are not the input's"
            refusals[reason] = refusals.get(reason, 0) + 1
            continue
        shape = ir.node("Constant", [], {"value_ints": wanted})
        reshape = ir.node("Reshape", [node.inputs[0], shape.outputs[0]])
        inherit(node, [shape, reshape])
        reshape.outputs[0].shape, reshape.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], [shape, reshape], [node.outputs[0]], [reshape.outputs[0]]
        )
        applied += 1
    return PassLog("fix_reshapes", applied, refusals)


def _keep_lengths_as_vectors(graph: ir.Graph) -> int:
    """`Reshape(Squeeze(s), [1])`, with `s` [1], becomes `s`."""
    applied = 0
    for node in list(graph):
        scalar = node.inputs[0].producer() if node.op_type == "Reshape" and node.inputs[0] is not None else None
        if scalar is None or scalar.op_type != "Squeeze" or constant(node.inputs[1]) not in ([1], [-1]):
            continue
        vector = scalar.inputs[0]
        is_free = not node.outputs[0].is_graph_output()
        if is_free and vector is not None and vector.shape is not None and vector.shape.dims == (1,):
            node.outputs[0].replace_all_uses_with(vector)
            graph.remove(node, safe=True)
            applied += 1
    return applied


def _copied(source: ir.Value | None, result: ir.Value) -> list[int] | None:
    """The constant target shape, if every named dimension of `result` stands at the same place in `source`."""
    if source is None or source.shape is None or result.shape is None:
        return None
    wanted = []
    for index, size in enumerate(result.shape):
        if isinstance(size, int):
            wanted.append(size)
        elif size.value is not None and index < len(source.shape) and source.shape[index] == size:
            wanted.append(0)
        else:
            return None
    return wanted
