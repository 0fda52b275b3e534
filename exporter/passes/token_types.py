"""Families without token types have a one-row table of them: the row is added, not looked up."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["drop_token_types", "is_same_shape", "only_widens_sums"]


def drop_token_types(model: ir.Model) -> PassLog:
    """`Gather(T, any ids)`, where `T` has one row, becomes that row, [E], which broadcasts over batch and length."""
    applied = 0
    refusals: dict[str, int] = {}
    for node in list(model.graph):
        if node.op_type != "Gather" or not _is_row(node.inputs[0]):
            continue
        if not only_widens_sums(node):
            refusals["something other than a sum of its shape reads the looked-up row"] = 1
            continue
        table = node.inputs[0]
        assert table is not None and table.const_value is not None
        name = str(table.name)
        row = ir.Tensor(np.ascontiguousarray(table.const_value.numpy()[0]), name=name)
        stored = ir.Value(name=name, shape=ir.Shape(row.shape), type=table.type, const_value=row)
        node.outputs[0].replace_all_uses_with(stored)
        model.graph.remove(node, safe=True)
        if not table.uses():
            model.graph.initializers.pop(name)
            model.graph.register_initializer(stored)
        applied += 1
    return PassLog("drop_token_types", applied, refusals)


def only_widens_sums(node: ir.Node) -> bool:
    """Whether whoever reads `node`, a Gather of whole rows, adds it to something that already has the sum's shape.

    Only then may its result lose leading dimensions: what is left broadcasts to the same sum.
    """
    result = node.outputs[0]
    along = node.attributes.get("axis")
    if result.is_graph_output() or (along is not None and along.as_int() != 0):
        return False
    for reader, index in result.uses():
        other = reader.inputs[1 - index] if reader.op_type == "Add" else None
        whole = reader.outputs[0].shape
        if other is None or other is result or whole is None or not is_same_shape(other.shape, whole):
            return False
    return True


def is_same_shape(one: ir.Shape | None, other: ir.Shape | None) -> bool:
    """Whether both shapes are known to be equal. Two dimensions without a name are not known to be."""
    if one is None or other is None or len(one) != len(other):
        return False
    return all(a == b and (isinstance(a, int) or a.value is not None) for a, b in zip(one, other, strict=True))


def _is_row(value: ir.Value | None) -> bool:
    if value is None or not value.is_initializer() or value.shape is None:
        return False
    # Only a float table with a single reader is an embedding of nothing; anything else is left as it is.
    return len(value.shape) == 2 and value.shape[0] == 1 and value.dtype == ir.DataType.FLOAT and len(value.uses()) == 1
