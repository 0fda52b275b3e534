"""What rules ask of a graph: its nodes, what is constant in it, and who makes and reads a value."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = ["FLOATS", "Facts", "name_of"]

_TO_BOOL = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor", "IsNaN", "IsInf")

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


class Facts:
    """A graph that is being checked for TensorRT `version` (major, minor) and later."""

    def __init__(self, model: ir.Model, version: tuple[int, int]) -> None:
        self.model = model
        self.version = version
        self._dtypes: dict[ir.Value, ir.DataType | None] = {}

    @cached_property
    def nodes(self) -> tuple[ir.Node, ...]:
        """Every node, those of subgraphs too."""
        return tuple(self.model.graph.all_nodes())

    def of(self, *operators: str) -> Iterator[ir.Node]:
        """The nodes of ONNX's own domain whose operator is one of `operators`."""
        return (node for node in self.nodes if node.op_type in operators and node.domain in ("", "ai.onnx"))

    def is_constant(self, value: ir.Value | None) -> bool:
        """Whether `value` is stored in the graph: an initializer, or what a Constant node makes."""
        if value is None:
            return False
        maker = value.producer()
        return value.const_value is not None or (maker is not None and maker.op_type == "Constant")

    def constant(self, value: ir.Value | None) -> NDArray[Any] | None:
        """The numbers of `value` where it is stored in the graph, else None."""
        if value is None:
            return None
        if value.const_value is not None:
            return value.const_value.numpy()
        maker = value.producer()
        if maker is None or maker.op_type != "Constant":
            return None
        tensor = maker.attributes.get("value")
        if tensor is not None and tensor.type == ir.AttributeType.TENSOR:
            return tensor.as_tensor().numpy()
        others = [attribute.value for attribute in maker.attributes.values()]
        return np.asarray(others[0]) if len(others) == 1 else None

    def dtype(self, value: ir.Value | None) -> ir.DataType | None:
        """The element type of `value`, where the graph does not say it followed from its makers; None if unknown.

        Not ONNX's own inference: that gives up at the first node whose types do not agree, which is what is looked
        for here.
        """
        if value is None:
            return None
        if value not in self._dtypes:
            self._dtypes[value] = None  # in case that the graph has a cycle
            node = value.producer()
            self._dtypes[value] = value.dtype or (self._made_by(node) if node is not None else None)
        return self._dtypes[value]

    def _made_by(self, node: ir.Node) -> ir.DataType | None:
        attributes = node.attributes
        if node.op_type in ("Shape", "Size", "NonZero", "ArgMax", "ArgMin"):
            return ir.DataType.INT64
        if node.op_type in _TO_BOOL:
            return ir.DataType.BOOL
        if node.op_type in ("Cast", "QuantizeLinear", "DynamicQuantizeLinear"):
            asked = attributes.get_int("to", 0) or attributes.get_int("output_dtype", 0)
            zero = self.dtype(node.inputs[2]) if len(node.inputs) > 2 else None
            return ir.DataType(asked) if asked else zero or ir.DataType.UINT8
        if node.op_type == "Constant":
            tensor = attributes.get("value")
            return tensor.as_tensor().dtype if tensor is not None else None
        source = 1 if node.op_type in ("DequantizeLinear", "Where") else 0
        return self.dtype(node.inputs[source]) if len(node.inputs) > source else None

    def width(self, value: ir.Value | None) -> int | None:
        """The size of the last axis of `value`, from its shape, or from the linear layer that makes it."""
        if value is None:
            return None
        if value.shape is not None and len(value.shape) and isinstance(value.shape[-1], int):
            return value.shape[-1]
        node = value.producer()
        if node is None or node.op_type not in ("Add", "MatMul", "QuantizeLinear", "DequantizeLinear", "Cast"):
            return None
        source = node.inputs[1] if node.op_type == "MatMul" else node.inputs[0]
        found = self.width(source)
        return self.width(node.inputs[1]) if found is None and node.op_type == "Add" else found

    def maker(self, value: ir.Value | None, operator: str) -> ir.Node | None:
        """The node that makes `value`, where its operator is `operator`."""
        node = value.producer() if value is not None else None
        return node if node is not None and node.op_type == operator else None

    def readers(self, value: ir.Value) -> tuple[ir.Node, ...]:
        return tuple(use.node for use in value.uses())


def name_of(node: ir.Node) -> str:
    """The node's name, or where it has none, its operator and what it makes."""
    return node.name or f"{node.op_type} of {node.outputs[0].name if node.outputs else 'nothing'}"
