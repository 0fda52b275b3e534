"""Attention taken apart into products and a softmax, for engines and types that have no kernel for the whole of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["FILL", "Parts", "head_size", "take_apart"]

FILL = -30000.0
"""The score of what is masked: fits every float type, and its exponential is 0 in all of them."""


@dataclass(frozen=True)
class Parts:
    """What an Attention became. `query`, `key` (transposed), `value` and `weights` go into its two products."""

    nodes: tuple[ir.Node, ...]
    query: ir.Value
    key: ir.Value
    value: ir.Value
    weights: ir.Value
    scores: ir.Node
    product: ir.Node


def head_size(attention: ir.Node) -> int | None:
    """How wide a head of it is, or None where the graph does not say."""
    query = attention.inputs[0]
    width = query.shape[-1] if query is not None and query.shape is not None else None
    if not isinstance(width, int) or query is None or query.shape is None:
        return None
    return width // attention.attributes.get_int("q_num_heads", 1) if len(query.shape) == 3 else width


def take_apart(graph: ir.Graph, names: Collection[str]) -> dict[str, Parts]:
    """`Attention(q, k, v, mask)` on 3-D inputs becomes its products, in place, for the nodes in `names`.

    `Softmax(Where(mask, (q * scale) @ k^T, FILL))`, whose weights are zero where the mask is, `@ v`: a row that is
    masked as a whole is zero, as in PyTorch. The scale and the transpose of the keys stand in front of the product,
    where engines want their Q nodes after them. What is not on 3-D inputs, or has no head size, is left as it is.
    """
    found = {}
    for node in list(graph):
        if node.op_type == "Attention" and node.name in names:
            size = head_size(node)
            query = node.inputs[0]
            if size is not None and query is not None and query.shape is not None and len(query.shape) == 3:
                found[str(node.name)] = _Writer(graph, node, size).write()
    return found


class _Writer:
    """Writes the parts of one Attention in front of it, each named after it, and takes it out."""

    def __init__(self, graph: ir.Graph, attention: ir.Node, size: int) -> None:
        self.graph, self.attention, self.size = graph, attention, size
        self.heads = attention.attributes.get_int("q_num_heads", 1)
        shape = attention.inputs[0].shape if attention.inputs[0] is not None else None
        self.rows = (shape[0], shape[1]) if shape is not None else (None, None)
        self.nodes: list[ir.Node] = []

    def write(self) -> Parts:
        node, (batch, length) = self.attention, self.rows
        heads, size = self.heads, self.size
        scale = node.attributes.get_float("scale", size**-0.5)
        whole, turned = (batch, heads, length, size), (batch, heads, size, length)
        query = self._add("Mul", "scaled", self._split(0, "query", (0, 2, 1, 3), whole), self._scalar("factor", scale))
        key = self._split(1, "key", (0, 2, 3, 1), turned)
        value = self._split(2, "value", (0, 2, 1, 3), whole)
        square = (batch, heads, length, length)
        scores = result = self._add("MatMul", "scores", query, key, shape=square)
        mask = node.inputs[3] if len(node.inputs) > 3 else None
        if mask is not None:
            result = self._add("Where", "masked", mask, result, self._scalar("fill", FILL), shape=square)
        weights = self._add("Softmax", "Softmax", result, shape=square, axis=-1)
        if mask is not None:
            weights = self._add("Where", "weights", mask, weights, self._scalar("zero", 0.0), shape=square)
        product = self._add("MatMul", "product", weights, value, shape=whole)
        joined = self._add("Transpose", "joined", product, shape=(batch, length, heads, size), perm=(0, 2, 1, 3))
        self._finish(self._add("Reshape", "output", joined, self._shape("width", [0, 0, heads * size])))
        return Parts(tuple(self.nodes), query, key, value, weights, _maker(scores), _maker(product))

    def _split(self, index: int, label: str, order: tuple[int, ...], shape: tuple[object, ...]) -> ir.Value:
        source = self.attention.inputs[index]
        assert source is not None
        wanted = self._shape("heads", [0, 0, self.heads, self.size])
        apart = self._add("Reshape", f"{label}.heads", source, wanted, shape=(*self.rows, self.heads, self.size))
        return self._add("Transpose", label, apart, shape=shape, perm=order)

    def _add(self, op: str, label: str, *inputs: ir.Value, shape: object = None, **attributes: object) -> ir.Value:
        name = f"{self.attention.name}.{label}"
        node = ir.node(op, list(inputs), attributes, name=name)  # type: ignore[arg-type]
        output = node.outputs[0]
        own = inputs[0].shape if shape is None else ir.Shape(shape)  # type: ignore[arg-type]
        output.name, output.dtype, output.shape = name, self._dtype(), own
        self.graph.insert_before(self.attention, node)
        self.nodes.append(node)
        return output

    def _dtype(self) -> ir.DataType:
        return self.attention.outputs[0].dtype or ir.DataType.FLOAT

    def _scalar(self, label: str, number: float) -> ir.Value:
        return self._store(label, np.array(number, self._dtype().numpy()))

    def _shape(self, label: str, numbers: list[int]) -> ir.Value:
        return self._store(label, np.array(numbers, np.int64))

    def _store(self, label: str, array: NDArray[Any]) -> ir.Value:
        name = f"{self.attention.name}.{label}"
        if name not in self.graph.initializers:
            tensor = ir.Tensor(array, name=name)
            value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
            self.graph.register_initializer(value)
        return self.graph.initializers[name]

    def _finish(self, result: ir.Value) -> None:
        """The last part takes the place, name and shape of the Attention's output."""
        old = self.attention.outputs[0]
        result.shape = old.shape
        old.replace_all_uses_with(result, replace_graph_outputs=True)
        name = old.name
        self.graph.remove(self.attention, safe=True)
        result.name = name


def _maker(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node
