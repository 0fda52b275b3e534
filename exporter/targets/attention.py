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

    `Softmax(Where(mask, (q * scale) @ k^T, FILL)) @ v`, and what is masked as a whole is zero, as in PyTorch: its `v`
    is, where the mask is one of keys, and else its weights are. With zeros among the weights TensorRT has no kernel
    for the whole of it; in this form it has, which moves less than what it makes of Attention (docs/tensorrt.md). A
    mask of keys is read as [batch, 1, 1, length], not expanded to every query. The scale and the transpose of the
    keys stand in front of the product, where engines want their Q nodes after them. What is not on 3-D inputs, or has
    no head size, is left as it is.
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
        mask = _narrow_mask(node.inputs[3] if len(node.inputs) > 3 else None)
        if mask is not None:
            result = self._add("Where", "masked", mask, result, self._scalar("fill", FILL), shape=square)
        of_keys = mask is None or _is_of_keys(mask)
        weights = self._add("Softmax", "weights" if of_keys else "Softmax", result, shape=square, axis=-1)
        if mask is not None and of_keys:
            value = self._add("Mul", "kept", value, self._find_any(mask), shape=whole)
        elif mask is not None:
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

    def _find_any(self, mask: ir.Value) -> ir.Value:
        """[batch, 1, 1, 1]: 1 for a text that has a key at all, else 0. Made once for all layers."""
        name = f"{mask.name}.any"
        for use in mask.uses():
            if use.node.name == f"{name}.int32":
                (reduction,) = (one.node for one in use.node.outputs[0].uses())
                (found,) = (one.node.outputs[0] for one in reduction.outputs[0].uses())
                return found
        number, kind = int(ir.DataType.INT32), self._dtype()
        axes = self._shape("keys", [3])
        nodes = [ir.node("Cast", [mask], {"to": number}, name=f"{name}.int32")]
        nodes.append(ir.node("ReduceMax", [nodes[0].outputs[0], axes], {"keepdims": 1}, name=f"{name}.max"))
        nodes.append(ir.node("Cast", [nodes[1].outputs[0]], {"to": int(kind)}, name=name))
        batch = mask.shape[0] if mask.shape is not None else None
        for one, dtype in zip(nodes, (ir.DataType.INT32, ir.DataType.INT32, kind), strict=True):
            one.outputs[0].name, one.outputs[0].type = one.name, ir.TensorType(dtype)
            one.outputs[0].shape = mask.shape if one is nodes[0] else ir.Shape((batch, 1, 1, 1))
        self.graph.insert_before(self.attention, nodes)
        return nodes[-1].outputs[0]

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
        name, mask = old.name, self.attention.inputs[3] if len(self.attention.inputs) > 3 else None
        self.graph.remove(self.attention, safe=True)
        result.name = name
        if mask is not None:
            _remove_unread(self.graph, mask)


def _narrow_mask(mask: ir.Value | None) -> ir.Value | None:
    """The mask before it was expanded to every query, where that is all that was done: Where broadcasts it itself."""
    maker = mask.producer() if mask is not None else None
    source = maker.inputs[0] if maker is not None and maker.op_type == "Expand" else None
    return source if source is not None and _is_of_keys(source) else mask


def _is_of_keys(mask: ir.Value) -> bool:
    """Whether it is [batch, 1, 1, length], the same for every query."""
    return mask.shape is not None and len(mask.shape) == 4 and mask.shape[1] == mask.shape[2] == 1


def _remove_unread(graph: ir.Graph, value: ir.Value) -> None:
    """Take out what makes `value`, and what only that reads, when nothing reads it any more."""
    node = value.producer()
    if value.is_initializer() and not value.uses():
        graph.initializers.pop(str(value.name), None)
    if node is None or value.is_graph_output() or any(output.uses() for output in node.outputs):
        return
    sources = [one for one in node.inputs if one is not None]
    graph.remove(node, safe=True)
    for source in sources:
        _remove_unread(graph, source)


def _maker(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node
