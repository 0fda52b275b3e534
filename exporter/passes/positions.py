"""Positions: read as a slice where they only count up, counted in one integer type where padding is skipped."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleClassBase, RewriteRuleSet
from onnxscript.rewriter._basics import MatchResult

from ...runtime.manifest import PassLog
from .constants import constant
from .linears import inherit
from .token_types import only_widens_sums

__all__ = ["count_positions", "slice_positions"]


def slice_positions(model: ir.Model) -> PassLog:
    """`Gather(P, [[0, 1, 2, …]][:, :n])` becomes `P[0:n]`: [1, n, E] becomes [n, E], which broadcasts alike."""
    applied = 0
    refusals: dict[str, int] = {}
    for node in list(model.graph):
        indices = node.inputs[1].producer() if node.op_type == "Gather" and node.inputs[1] is not None else None
        if indices is None or indices.op_type != "Slice":
            continue
        reason = _why_not(node, indices)
        if reason:
            refusals[reason] = refusals.get(reason, 0) + 1
            continue
        table, result = node.inputs[0], node.outputs[0]
        assert table is not None
        bounds = [ir.node("Constant", [], {"value_ints": [number]}) for number in (0, 0, 1)]
        start, axis, step = (bound.outputs[0] for bound in bounds)
        rows = ir.node("Slice", [table, start, indices.inputs[2], axis, step])
        inherit(node, [*bounds, rows])
        # The leading 1 is gone, also from what the value says of its own shape.
        rows.outputs[0].type = table.type
        rows.outputs[0].shape = result.shape = None if result.shape is None else ir.Shape(list(result.shape)[1:])
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], [*bounds, rows], [result], [rows.outputs[0]])
        applied += 1
    return PassLog("slice_positions", applied, refusals)


def _why_not(gather: ir.Node, indices: ir.Node) -> str:
    """Why the rows that `gather` picks are not the table's first ones, or "" when they are."""
    table = gather.inputs[0]
    rows = table.shape[0] if table is not None and table.shape is not None else None
    if not isinstance(rows, int) or not _counts_up(indices.inputs[0], rows):
        return "the ids that are sliced do not count the table's rows from 0"
    start, axes, steps = (constant(value) for value in (indices.inputs[1], *(*indices.inputs[3:], None, None)[:2]))
    if start != [0] or axes not in ([1], [-1]) or (len(indices.inputs) > 4 and steps != [1]):
        return "the slice of the ids does not start at 0 and take each one"
    if not only_widens_sums(gather):
        return "something other than a sum of their shape reads the positions"
    return ""


def _counts_up(value: ir.Value | None, rows: int) -> bool:
    tensor = value.const_value if value is not None else None
    if tensor is None or tuple(tensor.shape) != (1, rows):
        return False
    return bool(np.array_equal(tensor.numpy()[0], np.arange(rows)))


class _CountInOneType(RewriteRuleClassBase):
    """`int64((int32(CumSum(int64(m))) + 0) * m)`, `m = int32(seen)`, becomes `CumSum(int64(seen)) * int64(seen)`."""

    def __init__(self, refusals: dict[str, int]) -> None:
        super().__init__()
        self.refusals = refusals

    def pattern(self, op, seen, axis, zero):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        narrow = op.Cast(seen, to=ir.DataType.INT32)
        counted = op.CumSum(op.Cast(narrow, to=ir.DataType.INT64), axis, _outputs=["counted"])
        past = op.Add(op.Cast(counted, to=ir.DataType.INT32), zero)
        return op.Cast(op.Mul(past, narrow), to=ir.DataType.INT64)

    def check(self, context, seen, zero, counted, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        attributes = counted.producer().attributes
        reason = ""
        if seen.dtype != ir.DataType.BOOL:
            reason = "what is counted is more than yes or no"
        elif constant(zero) != [0]:
            reason = "tokens before the first are counted in"
        elif any(attributes[name].as_int() for name in ("exclusive", "reverse") if name in attributes):
            reason = "the count is exclusive or runs backwards"
        if reason:
            self.refusals[reason] = self.refusals.get(reason, 0) + 1
            return MatchResult().fail(reason)
        return MatchResult()

    def rewrite(self, op, seen, axis, **_):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN202
        wide = op.Cast(seen, to=ir.DataType.INT64)
        return op.Mul(op.CumSum(wide, axis), wide)


def count_positions(model: ir.Model) -> PassLog:
    """RoBERTa's positions in one integer type: `padding_idx + CumSum(m) * m`, with `m = (ids != padding_idx)`."""
    refusals: dict[str, int] = {}
    applied = RewriteRuleSet([_CountInOneType.rule(refusals)]).apply_to_model(model)
    return PassLog("count_positions", applied, refusals)
