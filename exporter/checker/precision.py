"""Rules about types: a strongly typed network takes every type from the graph, and converts nothing by itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import onnx_ir as ir

from .facts import FLOATS, Facts, name_of
from .rule import Breach, Rule

__all__ = ["PRECISION_RULES"]

_SAME_TYPE = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "MatMul", "Gemm", "LayerNormalization", "Attention")

_UNREAD = tuple(
    getattr(ir.DataType, name)
    for name in ("INT16", "UINT8", "UINT16", "UINT32", "UINT64", "STRING", "COMPLEX64", "COMPLEX128")
)

_SMALL = 4096
"""Elements up to which a second copy of a weight is no matter."""


def _mixed(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*_SAME_TYPE):
        found = [facts.dtype(value) for value in node.inputs]
        types = {dtype.name for dtype in found if dtype is not None and dtype in FLOATS}
        if len(types) > 1:
            yield Breach(name_of(node), f"{node.op_type} mixes {' and '.join(sorted(types))}.")


def _unread(facts: Facts) -> Iterator[Breach]:
    for node in facts.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue  # their own rules say it better
        for value in node.outputs:
            dtype = facts.dtype(value)
            if dtype is not None and dtype in _UNREAD:
                yield Breach(name_of(node), f"{value.name} has the type {dtype.name}.")


def _half_variance(facts: Facts) -> Iterator[Breach]:
    """`ReduceMean(Pow(x, 2))` and `ReduceMean(Mul(x, x))`: overflow in fp16 as soon as an |x| exceeds 255."""
    for node in facts.of("ReduceMean", "ReduceSum"):
        source = node.inputs[0]
        square = source.producer() if source is not None else None
        if source is None or square is None or facts.dtype(source) != ir.DataType.FLOAT16:
            continue
        twice = square.op_type == "Mul" and square.inputs[0] is square.inputs[1]
        if square.op_type == "Pow" or twice:
            yield Breach(name_of(node), "Squares are summed up in fp16, which ends at 65504.")


def _transposed_copies(facts: Facts) -> Iterator[Breach]:
    """The builder stores two equal initializers once, but a matrix and its transpose twice."""
    matrices = [
        (name, value.const_value)
        for name, value in facts.model.graph.initializers.items()
        if value.const_value is not None and len(value.const_value.shape) == 2 and value.const_value.size > _SMALL
    ]
    shapes = {tuple(tensor.shape.numpy()) for _, tensor in matrices}
    seen: dict[tuple[object, ...], str] = {}
    for name, tensor in matrices:
        shape = tuple(tensor.shape.numpy())
        if shape[::-1] not in shapes:
            continue
        array = tensor.numpy()
        straight = (shape, tensor.dtype, hashlib.sha256(array.tobytes()).digest())
        turned = (shape[::-1], tensor.dtype, hashlib.sha256(array.T.tobytes()).digest())
        if turned in seen and straight != turned:
            yield Breach(name, f"{name} is the transpose of {seen[turned]}.")
        seen.setdefault(straight, name)


PRECISION_RULES = (
    Rule("one-float-type", "refused", "Cast the inputs to one type.", _mixed),
    Rule("known-types", "refused", "Use float, int32, int64 or bool; for quantisation int8.", _unread),
    Rule(
        "normalisation-in-fp32",
        "inaccurate",
        "Write the LayerNormalization operator, which computes in fp32 by itself, or cast around the sum.",
        _half_variance,
    ),
    Rule("weights-stored-once", "large", "Read the one matrix through a Transpose node.", _transposed_copies),
)
