"""Whatever is known before the first text arrives is computed now."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common
from onnxscript import optimizer

from ...runtime.manifest import PassLog

__all__ = ["fold_constants"]

FOLD_AT_MOST = 1024
"""Numbers in a tensor. Shape arithmetic and scalars are folded, weights of any size never are."""


def fold_constants(model: ir.Model) -> PassLog:
    """`f(c)` becomes its value; `Identity(x)` and a Slice of everything become `x`; equal nodes become one."""
    before = model.graph.num_nodes()
    optimizer.fold_constants(
        model,
        onnx_shape_inference=True,
        input_size_limit=FOLD_AT_MOST,
        output_size_limit=FOLD_AT_MOST,
        should_fold=_may_be_folded,
    )
    _drop_whole_slices(model.graph)
    _drop_identities(model.graph)
    for tidy in (
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    ):
        tidy(model)
    return PassLog("fold_constants", before - model.graph.num_nodes())


def _may_be_folded(node: ir.Node) -> bool | None:
    """False for what is computed from a weight: its result would be a second one. None leaves it to the sizes."""
    for value in node.inputs:
        tensor = value.const_value if value is not None else None
        if tensor is not None and tensor.dtype.is_floating_point() and tensor.size > 1:
            return False
    return None


def _drop_identities(graph: ir.Graph) -> None:
    """`Identity(x)` is `x`, except where both are asked for as outputs, or an input is."""
    for node in list(graph):
        source = node.inputs[0] if node.op_type == "Identity" else None
        if source is None:
            continue
        result = node.outputs[0]
        if result.is_graph_output():
            if source.is_graph_output() or source.is_graph_input() or source.is_initializer():
                continue
            source.name = result.name
        source.shape = source.shape or result.shape
        source.type = source.type or result.type
        result.replace_all_uses_with(source, replace_graph_outputs=True)
        graph.remove(node, safe=True)


def constant(value: ir.Value | None) -> list[int] | None:
    """The integers of a small constant, or None."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.size > FOLD_AT_MOST:
        return None
    return [int(number) for number in tensor.numpy().reshape(-1)]


def _drop_whole_slices(graph: ir.Graph) -> None:
    """`x[0:max:1]` along any axis is `x`."""
    for node in list(graph):
        if node.op_type != "Slice" or len(node.inputs) != 5:
            continue
        starts, ends, _, steps = (constant(i) for i in node.inputs[1:])
        source = node.inputs[0]
        if starts and ends and steps and source is not None:
            whole = not any(starts) and all(end >= 2**31 - 1 for end in ends) and all(step == 1 for step in steps)
            if whole and not node.outputs[0].is_graph_output():
                node.outputs[0].replace_all_uses_with(source)
                graph.remove(node, safe=True)
