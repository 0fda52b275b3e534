"""Positions: read as a slice where they only count up, counted in one integer type where padding is skipped."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleClassBase, RewriteRuleSet
from onnxscript.rewriter._basics import MatchResult

from ...runtime.manifest import PassLog
from .constants import constant
from .linears import inherit

__all__ = ["count_positions", "slice_positions"]


def slice_positions(model: ir.Model) -> PassLog:
    """`Gather(P, [[0, 1, 2, …]][:, :n])` becomes `P[0:n]`: [1, n, E] becomes [n, E], which broadcasts alike."""
    applied = 0
    refusals: dict[str, int] = {}
    for node in list(model.graph):
        indices = node.inputs[1].producer() if node.op_type == "Gather" and node.inputs[1] is not None else None
        if indices is None or indices.op_type != "Slice":
            continue
        if not _counts_up(indices.inputs[0]):
            refusals["the ids that are sliced do not count up from 0"] = 1
            continue
        end = indices.inputs[2]
        bounds = [ir.node("Constant", [], {"value_ints": [number]}) for number in (0, 0, 1)]
        start, axis, step = (bound.outputs[0] for bound in bounds)
        rows = ir.node("Slice", [node.inputs[0], start, end, axis, step])
        inherit(node, [*bounds, rows])
        table, result = node.inputs[0], node.outputs[0]
        assert table is not None
        if any(use.node.op_type != "Add" for use in result.uses()):
            refusals["something other than a sum reads the positions"] = 1
            continue
        # The leading 1 is gone, also from what the value says of its own shape.
        rows.outputs[0].type = table.type
        rows.outputs[0].shape = result.shape = None if result.shape is None else ir.Shape(list(result.shape)[1:])
        ir.convenience.replace_nodes_and_values(
            model.graph, node, [node], [*bounds, rows], [node.outputs[0]], [rows.outputs[0]]
        )
        applied += 1
    return PassLog("slice_positions", applied, refusals)


def _counts_up(value: ir.Value | None) -> bool:
    tensor = value.const_value if value is not None else None
    if tensor is None or len(tensor.shape) != 2 or tensor.shape[0] != 1:
        return False
    return bool(np.array_equal(tensor.numpy()[0], np.arange(int(tensor.shape[1]))))


class _CountInOneType(RewriteRuleClassBase):  # type: ignore[misc]
    """`int64((int32(CumSum(int64(m))) + 0) * m)`, with `m = int32(seen)`, becomes `CumSum(int64(seen)) * int64(seen)`."""

    def pattern(self, op, seen, axis, zero):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        narrow = op.Cast(seen, to=ir.DataType.INT32)
        counted = op.CumSum(op.Cast(narrow, to=ir.DataType.INT64), axis, _outputs=["counted"])
        past = op.Add(op.Cast(counted, to=ir.DataType.INT32), zero)
        return op.Cast(op.Mul(past, narrow), to=ir.DataType.INT64)

    def check(self, context, zero, counted, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        result = MatchResult()
        if constant(zero) != [0]:
            return result.fail("tokens before the first are counted in")
        attributes = counted.producer().attributes
        if any(attributes[name].as_int() for name in ("exclusive", "reverse") if name in attributes):
            return result.fail("the count is exclusive or runs backwards")
        return result

    def rewrite(self, op, seen, axis, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        wide = op.Cast(seen, to=ir.DataType.INT64)
        return op.Mul(op.CumSum(wide, axis), wide)


def count_positions(model: ir.Model) -> PassLog:
    """RoBERTa's positions in one integer type: `padding_idx + CumSum(m) * m`, with `m = (ids != padding_idx)`."""
    return PassLog("count_positions", RewriteRuleSet([_CountInOneType.rule()]).apply_to_model(model))
