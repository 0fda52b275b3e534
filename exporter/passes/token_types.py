"""Families without token types have a one-row table of them: the row is added, not looked up."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["drop_token_types"]


def drop_token_types(model: ir.Model) -> PassLog:
    """`Gather(T, any ids)`, where `T` has one row, becomes that row, [E], which broadcasts over batch and length."""
    applied = 0
    for node in list(model.graph):
        if node.op_type != "Gather" or not _is_row(node.inputs[0]):
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
    return PassLog("drop_token_types", applied)


def _is_row(value: ir.Value | None) -> bool:
    if value is None or not value.is_initializer() or value.shape is None:
        return False
    # Only a float table with a single reader is an embedding of nothing; anything else is left as it is.
    return len(value.shape) == 2 and value.shape[0] == 1 and value.dtype == ir.DataType.FLOAT and len(value.uses()) == 1
