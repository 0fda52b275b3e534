"""A decoder tied to the embedding keeps the one table."""

from __future__ import annotations

import onnx_ir as ir

from ...runtime.manifest import PassLog
from .linears import inherit, is_transposed_weight

__all__ = ["keep_tied_tables"]


def keep_tied_tables(model: ir.Model) -> PassLog:
    """`MatMul(x, Transpose(T)) + b`, where `T` also feeds a Gather, becomes `Gemm(x as rows, T, b, transB=1)`.

    `x` is [batch, length, E], `T` [V, E]. Storing Transpose(T) would store the vocabulary twice; leaving the
    Transpose in the graph makes every engine fold it when it loads. Gemm reads the table as it lies, but takes
    matrices only, so the rows are flattened before it and restored after it.
    """
    applied = 0
    refusals: dict[str, int] = {}
    for product in list(model.graph):
        if product.op_type != "MatMul":
            continue
        weight = is_transposed_weight(product.inputs[1])
        if weight is None or all(use.node.op_type == "Transpose" for use in weight.uses()):
            continue
        addition = _bias_of(product, weight)
        if addition is None:
            _count(refusals, "the product has no bias added right after it")
            continue
        transpose = product.inputs[1].producer()  # type: ignore[union-attr]
        _replace(model.graph, product, addition, weight)
        # A Transpose that nobody reads would still count as a reader of the table.
        if transpose is not None and not transpose.outputs[0].uses():
            model.graph.remove(transpose, safe=True)
        applied += 1
    return PassLog("keep_tied_tables", applied, refusals)


def _count(refusals: dict[str, int], reason: str) -> None:
    refusals[reason] = refusals.get(reason, 0) + 1


def _bias_of(product: ir.Node, weight: ir.Value) -> ir.Node | None:
    """The Add of one stored number per row of `weight`, if that alone reads the product."""
    uses = list(product.outputs[0].uses())
    if len(uses) != 1 or uses[0].node.op_type != "Add" or product.outputs[0].is_graph_output():
        return None
    bias = uses[0].node.inputs[1 - uses[0].idx]
    if bias is None or not bias.is_initializer() or bias.shape is None or weight.shape is None:
        return None
    # Gemm broadcasts its bias over rows only.
    return uses[0].node if bias.shape.dims == (weight.shape[0],) else None


def _replace(graph: ir.Graph, product: ir.Node, addition: ir.Node, weight: ir.Value) -> None:
    x = product.inputs[0]
    assert x is not None and weight.shape is not None
    bias = next(i for i in addition.inputs if i is not None and i.is_initializer())
    entries, width = int(weight.shape[0]), int(weight.shape[1])  # type: ignore[arg-type]
    rows_shape = ir.node("Constant", [], {"value_ints": [-1, width]})
    rows = ir.node("Reshape", [x, rows_shape.outputs[0]])
    gemm = ir.node("Gemm", [rows.outputs[0], weight, bias], {"transB": 1})
    # [batch, length] come from x: the shape of an output can copy only what the Gemm no longer knows.
    lead = ir.node("Shape", [x], {"start": 0, "end": -1})
    last = ir.node("Constant", [], {"value_ints": [entries]})
    shape = ir.node("Concat", [lead.outputs[0], last.outputs[0]], {"axis": 0})
    whole = ir.node("Reshape", [gemm.outputs[0], shape.outputs[0]])
    added = [rows_shape, rows, gemm, lead, last, shape, whole]
    inherit(addition, added)
    ir.convenience.replace_nodes_and_values(
        graph, addition, [product, addition], added, [addition.outputs[0]], [whole.outputs[0]]
    )
