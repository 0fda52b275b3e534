"""What quantisation adds to a graph has a name that says where it belongs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["add_initializer", "fresh", "replace_initializer"]


def add_initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """Store `array` as `name`; where that holds these very numbers already, it is what is stored."""
    found = graph.initializers.get(name)
    if found is not None and found.const_value is not None:
        stored = found.const_value.numpy()
        if stored.dtype == array.dtype and stored.shape == array.shape and np.array_equal(stored, array):
            return found
        # Another number under a name that was thought to be free would be read by both, and nothing would fail.
        return add_initializer(graph, f"{name}_1", array)
    graph.register_initializer(_stored(name, array))
    return graph.initializers[name]


def replace_initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """Store `array` in the place of the initializer `name`, for all its readers."""
    old, new = graph.initializers.pop(name), _stored(name, array)
    old.replace_all_uses_with(new)
    graph.register_initializer(new)
    return new


def fresh(node: ir.Node, shape: ir.Shape | None, dtype: ir.DataType) -> ir.Value:
    """The one output of a new node: called as the node is, of this shape and type."""
    value = node.outputs[0]
    value.name, value.shape, value.dtype = node.name, shape, dtype
    return value


def _stored(name: str, array: NDArray[Any]) -> ir.Value:
    tensor = ir.Tensor(np.ascontiguousarray(array) if array.ndim else array, name=name)
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
