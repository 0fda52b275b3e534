"""Embedding tables as int8: rows are looked up as integers, and only what was looked up becomes float.

Gather(table) and Gather(scales), then Cast and Mul. DequantizeLinear in front of the Gather would be shorter, and turns
the whole vocabulary into floats on every run: 41 ms of 73 at 1x128 for MiniLM, where these four nodes cost 0.2
(benchmarks/int8_forms.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from .names import add_initializer, fresh
from .weights import Stored

__all__ = ["look_up_rows"]


def look_up_rows(graph: ir.Graph, stored: Mapping[str, Stored]) -> int:
    """`Gather(table, ids)` becomes `Cast(Gather(table, ids)) * Unsqueeze(Gather(scales, ids))`; how many there were.

    `table` is int8 [rows, width] with one scale for each row. A decoder that is tied to it reads the same integers.
    """
    applied = 0
    for node in list(graph):
        weight = stored.get(str(node.inputs[0].name)) if node.op_type == "Gather" and node.inputs[0] else None
        if weight is not None and weight.axis == 0:
            _replace(graph, node, weight)
            applied += 1
    return applied


def _replace(graph: ir.Graph, node: ir.Node, weight: Stored) -> None:
    ids, output, name = node.inputs[1], node.outputs[0], str(node.name)
    dtype = weight.scales.dtype
    assert ids is not None and output.shape is not None and dtype is not None
    last = add_initializer(graph, "last_axis", np.array([-1], np.int64))
    rows = ir.node("Gather", [weight.values, ids], {"axis": 0}, name=f"{name}.rows")
    fresh(rows, output.shape, ir.DataType.INT8)
    scales = ir.node("Gather", [weight.scales, ids], {"axis": 0}, name=f"{name}.scales")
    fresh(scales, ir.Shape(output.shape[:-1]), dtype)
    column = ir.node("Unsqueeze", [scales.outputs[0], last], name=f"{name}.Unsqueeze")
    fresh(column, ir.Shape([*output.shape[:-1], 1]), dtype)
    floats = ir.node("Cast", [rows.outputs[0]], {"to": dtype}, name=f"{name}.Cast")
    fresh(floats, output.shape, dtype)
    product = ir.node("Mul", [floats.outputs[0], column.outputs[0]], name=f"{name}.Mul")
    fresh(product, output.shape, dtype)
    new = [rows, scales, column, floats, product]
    ir.convenience.replace_nodes_and_values(graph, node, [node], new, [output], [product.outputs[0]])
