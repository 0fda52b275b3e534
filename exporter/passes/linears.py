"""A linear layer's weight is stored as the product reads it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["inherit", "is_transposed_weight", "transpose_weights"]


def transpose_weights(model: ir.Model) -> PassLog:
    """`MatMul(x, Transpose(W))` becomes `MatMul(x, W')`, with `W'` stored in `W`'s place, once for all its uses.

    `W` is PyTorch's [out, in]. A weight with any other reader keeps its form: a second, transposed copy of it
    would be a second weight.
    """
    applied = 0
    refusals: dict[str, int] = {}
    for weight in list(model.graph.initializers.values()):
        readers = [use.node for use in weight.uses()]
        if not readers or not all(_swaps_axes(reader) for reader in readers):
            if any(_swaps_axes(reader) for reader in readers):
                reason = f"{weight.name} is read both as it is and transposed"
                refusals[reason] = refusals.get(reason, 0) + 1
            continue
        _store_transposed(model.graph, weight, readers)
        applied += len(readers)
    return PassLog("transpose_weights", applied, refusals)


def is_transposed_weight(value: ir.Value | None) -> ir.Value | None:
    """`W`, where `value` is `Transpose(W)` of a stored matrix; else None."""
    node = value.producer() if value is not None else None
    if node is None or not _swaps_axes(node):
        return None
    source = node.inputs[0]
    return source if source is not None and source.is_initializer() else None


def inherit(old: ir.Node, new: Iterable[ir.Node]) -> None:
    """New nodes say that they came from where the old one came from."""
    for node in new:
        node.metadata_props.update(old.metadata_props)


def _swaps_axes(node: ir.Node) -> bool:
    permutation = node.attributes.get("perm")
    return node.op_type == "Transpose" and permutation is not None and tuple(permutation.as_ints()) == (1, 0)


def _store_transposed(graph: ir.Graph, weight: ir.Value, readers: list[ir.Node]) -> None:
    tensor = weight.const_value
    assert tensor is not None
    name = str(weight.name)
    rows, columns = tensor.shape.numpy()

    def transpose() -> ir.TensorProtocol:
        return ir.Tensor(np.ascontiguousarray(tensor.numpy().T), name=name)

    # Lazily, and only while it is being read: a whole model's transposes at once would double its memory.
    lazy = ir.LazyTensor(transpose, tensor.dtype, ir.Shape([columns, rows]), name=name, cache=False)
    stored = ir.Value(name=name, shape=ir.Shape([columns, rows]), type=weight.type, const_value=lazy)
    for reader in readers:
        reader.outputs[0].replace_all_uses_with(stored)
        graph.remove(reader, safe=True)
    graph.initializers.pop(name)
    graph.register_initializer(stored)
