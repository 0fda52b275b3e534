"""A graph of float32 becomes one of fp16 or bf16, strongly typed: the precision is in the graph, casts included."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["BF16", "FP16", "HalfType", "has_floats", "narrow"]

FLOAT = ir.DataType.FLOAT

ANY_TYPE = ("Shape", "Size")
"""Operators that look at no number, so that it does not matter in which type they get them."""

Use = tuple[ir.Node, int]
"""A reader of a value, and which of its inputs the value is."""

SCALE_LOSS = 2.0**-7
"""The relative error from which on a quantisation scale is not cast: bf16 rounds every number by up to 2^-8."""


@dataclass(frozen=True)
class HalfType:
    """A floating-point type of 16 bits.

    `largest` is its largest finite number, `smallest_normal` the smallest below which digits are lost.
    """

    name: str
    dtype: ir.DataType
    largest: float
    smallest_normal: float


FP16 = HalfType("fp16", ir.DataType.FLOAT16, largest=65504.0, smallest_normal=2.0**-14)
BF16 = HalfType("bf16", ir.DataType.BFLOAT16, largest=(2 - 2.0**-7) * 2.0**127, smallest_normal=2.0**-126)


def has_floats(node: ir.Node) -> bool:
    """Whether float32 goes in or comes out, in the graph as it was captured."""
    if node.op_type in ANY_TYPE:
        return False
    return any(value is not None and value.dtype == FLOAT for value in (*node.inputs, *node.outputs))


def narrow(model: ir.Model, kind: HalfType, kept: Collection[str] = ()) -> PassLog:
    """`f(x, w)` in float32 becomes `f` in `kind`, in place; the nodes named in `kept` stay, between casts.

    Inputs stay as they are and outputs stay float32. A weight is cast once and keeps its name, however often it is
    used; where a kept node reads a weight that others read in `kind`, a Cast stands in between, so that it is still
    stored once. The graph may have Q and DQ nodes, which must not have casts inside: a QuantizeLinear is of the type
    of what it reads, a DequantizeLinear of the type in which it is read and doubled where that is both, and their
    scales, which have to be constants, are stored in both types. A scale that `kind` cannot hold leaves them float32.
    """
    graph = model.graph
    wide = {node for node in graph if node.name in kept}
    refusals = _keep_lost_scales(graph, kind, wide)
    _follow(graph, wide)
    narrowed = [node for node in graph if has_floats(node) and node not in wide]
    uses = _float_uses(graph)
    _store(graph, kind, uses, wide)
    for node in narrowed:
        _retype(node, kind)
    _cast_between(graph, kind, uses, wide)
    _cast_outputs(graph, kind)
    return PassLog(f"narrow_to_{kind.name}", len(narrowed), refusals)


def _float_uses(graph: ir.Graph) -> dict[ir.Value, list[Use]]:
    """Who reads each float32 value, before anything changes, in the order in which they run."""
    uses: dict[ir.Value, list[Use]] = {}
    for node in graph:
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype == FLOAT and node.op_type not in ANY_TYPE:
                uses.setdefault(value, []).append((node, index))
    return uses


def _keep_lost_scales(graph: ir.Graph, kind: HalfType, wide: set[ir.Node]) -> dict[str, int]:
    """Q and DQ nodes whose scale `kind` would round by more than `SCALE_LOSS`, or overflow, are wide; how many."""
    refusals: dict[str, int] = {}
    for value in graph.initializers.values():
        readers = [use.node for use in value.uses() if _is_scale(use)]
        if not readers or value.dtype != FLOAT or value.const_value is None:
            continue
        numbers = value.const_value.numpy()
        with np.errstate(over="ignore"):
            there = numbers.astype(kind.dtype.numpy()).astype(np.float32)
        if np.all(np.abs(there - numbers) <= SCALE_LOSS * np.abs(numbers)):
            continue
        wide.update(readers)
        refusals[f"a quantisation scale is beyond what {kind.name} holds"] = len(readers) + sum(refusals.values())
    return refusals


def _follow(graph: ir.Graph, wide: set[ir.Node]) -> None:
    """Q nodes and the smoothing in front of them join what they read, and DQ nodes what reads them."""
    for node in list(graph):
        if node.op_type == "QuantizeLinear" or _is_smoothing(node):
            source = node.inputs[0]
            if source is not None and source.producer() in wide:
                wide.add(node)
        elif node.op_type == "DequantizeLinear" and node not in wide:
            uses = list(node.outputs[0].uses())
            readers = [use for use in uses if use.node in wide]
            if readers and len(readers) == len(uses):
                wide.add(node)
            elif readers:
                wide.add(_double(graph, node, readers))


def _is_smoothing(node: ir.Node) -> bool:
    """A product that is made for Q nodes only: its input has its range, and may be beyond that of the narrow type."""
    readers = node.outputs[0].uses() if node.op_type == "Mul" else ()
    return bool(readers) and all(use.node.op_type == "QuantizeLinear" for use in readers)


def _double(graph: ir.Graph, node: ir.Node, readers: Collection[Use]) -> ir.Node:
    """`readers` read a DQ of their own, of the same stored weight: engines fuse a DQ with what follows it."""
    attributes = list(node.attributes.values())
    double = ir.Node("", node.op_type, node.inputs, attributes=attributes, name=f"{node.name}.fp32")
    (output,), (own,) = node.outputs, double.outputs
    own.name, own.type, own.shape = f"{output.name}.fp32", output.type, output.shape
    graph.insert_after(node, double)
    for reader, index in readers:
        reader.replace_input_with(index, own)
    return double


def _store(graph: ir.Graph, kind: HalfType, uses: dict[ir.Value, list[Use]], wide: Collection[ir.Node]) -> None:
    """Weights in `kind`, except those that only kept nodes read."""
    for value in list(graph.initializers.values()):
        readers = uses.get(value, [])
        if not any(node not in wide for node, _ in readers):
            continue
        _double_scales(graph, value, [use for use in readers if use[0] in wide and _is_scale(use)])
        tensor = value.const_value
        assert tensor is not None
        value.const_value = _narrowed(tensor, kind, str(value.name))
        value.type = ir.TensorType(kind.dtype)


def _is_scale(use: Use) -> bool:
    return use[1] == 1 and use[0].op_type in ("QuantizeLinear", "DequantizeLinear")


def _double_scales(graph: ir.Graph, scale: ir.Value, readers: Collection[Use]) -> None:
    """`readers` read a float32 copy of `scale`."""
    if not readers:
        return
    name = f"{scale.name}.fp32"
    copy = ir.Value(name=name, type=ir.TensorType(FLOAT), shape=scale.shape, const_value=scale.const_value)
    graph.register_initializer(copy)
    for node, index in readers:
        node.replace_input_with(index, copy)


def _narrowed(tensor: ir.TensorProtocol, kind: HalfType, name: str) -> ir.LazyTensor:
    """The tensor in `kind`, cast when it is read, so that only one weight at a time is in memory twice."""

    def cast() -> ir.TensorProtocol:
        # Evidence has seen to it that what overflows is not narrowed; a NaN or infinity was refused at the door.
        with np.errstate(over="ignore", under="ignore"):
            return ir.Tensor(tensor.numpy().astype(kind.dtype.numpy()), dtype=kind.dtype, name=name)

    return ir.LazyTensor(cast, dtype=kind.dtype, shape=ir.Shape(tensor.shape.numpy()), name=name, cache=False)


def _retype(node: ir.Node, kind: HalfType) -> None:
    for output in node.outputs:
        if output.dtype == FLOAT:
            output.type = ir.TensorType(kind.dtype)
    if node.op_type == "Cast" and node.attributes.get_int("to", 0) == FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", int(kind.dtype))


def _cast_between(graph: ir.Graph, kind: HalfType, uses: dict[ir.Value, list[Use]], wide: Collection[ir.Node]) -> None:
    """One Cast for every value that is read in the other type, however many read it so."""
    for value, readers in uses.items():
        own = value.dtype
        others = [
            (node, index)
            for node, index in readers
            if node.inputs[index] is value and (FLOAT if node in wide else kind.dtype) != own
        ]
        if not others:
            continue
        wanted, label = (kind.dtype, kind.name) if own == FLOAT else (FLOAT, "fp32")
        cast = _make_cast(value, wanted, f"{value.name}.{label}")
        producer = value.producer()
        if producer is None:
            graph.insert_before(others[0][0], cast)
        else:
            graph.insert_after(producer, cast)
        for node, index in others:
            node.replace_input_with(index, cast.outputs[0])


def _cast_outputs(graph: ir.Graph, kind: HalfType) -> None:
    """What leaves the graph is float32, under its own name."""
    for index, value in enumerate(graph.outputs):
        if value.dtype != kind.dtype:
            continue
        name = value.name
        value.name = f"{name}.{kind.name}"
        cast = _make_cast(value, FLOAT, str(name))
        producer = value.producer()
        if producer is None:
            graph.append(cast)
        else:
            graph.insert_after(producer, cast)
        graph.outputs[index] = cast.outputs[0]


def _make_cast(value: ir.Value, to: ir.DataType, name: str) -> ir.Node:
    cast = ir.Node("", "Cast", [value], attributes=[ir.AttrInt64("to", int(to))], name=f"{name}.Cast")
    output = cast.outputs[0]
    output.name, output.type, output.shape = name, ir.TensorType(to), value.shape
    return cast
