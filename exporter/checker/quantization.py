"""Rules about Q/DQ: what makes a GEMM int8, and what stops the parser."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from .facts import Facts, name_of
from .rule import Breach, Rule

__all__ = ["QUANTIZATION_RULES", "half_quantised", "unsaid_axis"]

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_GEMMS = ("MatMul", "Gemm")


def _zero_point(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*_PAIR):
        zero = facts.constant(_input(node, 2))
        if zero is not None and np.any(zero.astype(np.float32)):
            yield Breach(name_of(node), f"Its zero point is {zero.flat[0]}, not 0.")


def _unsigned(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*_PAIR):
        value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
        dtype = facts.dtype(_input(node, 2)) or facts.dtype(value)
        if dtype is not None and dtype in (ir.DataType.UINT8, ir.DataType.UINT16):
            yield Breach(name_of(node), f"It quantises to {dtype.name}.")


def _scales(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*_PAIR):
        scale = facts.constant(_input(node, 1))
        if scale is not None and not np.all(scale.astype(np.float32) > 0):
            yield Breach(name_of(node), "Its scale is not positive everywhere.")


def _computed_scale(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*_PAIR):
        if not facts.is_constant(_input(node, 1)):
            yield Breach(name_of(node), "Its scale is computed, or an input.")


def _channels(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("QuantizeLinear"):
        if not facts.is_constant(node.inputs[0]) and _size(node.inputs[1]) > 1:
            yield Breach(name_of(node), "An activation has a scale per channel.")


def unsaid_axis(facts: Facts, least: int = 2) -> Iterator[Breach]:
    """Q and DQ nodes with `least` scales or more, and no axis."""
    for node in facts.of(*_PAIR):
        scales = _size(node.inputs[1])
        if scales >= least and "axis" not in node.attributes:
            subject = "It has a scale per channel, and" if scales > 1 else "It"
            yield Breach(name_of(node), f"{subject} does not say along which axis.")


def _blocks(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("DequantizeLinear"):
        if "block_size" in node.attributes and node.attributes["block_size"].as_int():
            yield Breach(name_of(node), "Its scales belong to blocks.")


def _int32(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("DequantizeLinear"):
        if facts.dtype(node.inputs[0]) == ir.DataType.INT32:
            yield Breach(name_of(node), "It dequantises int32.")


def _loose_int8(facts: Facts) -> Iterator[Breach]:
    for name, value in facts.model.graph.initializers.items():
        if value.dtype != ir.DataType.INT8:
            continue
        for use in value.uses():
            if use.node.op_type not in _PAIR:
                yield Breach(name_of(use.node), f"{use.node.op_type} reads the int8 weight {name}.")


def _names(facts: Facts) -> Iterator[Breach]:
    taken = set(facts.model.graph.initializers)
    for node in facts.of(*_PAIR):
        if node.name and node.name in taken:
            yield Breach(node.name, f"Another of them, or a weight, is called {node.name} too.")
        taken.add(node.name or "")


def half_quantised(facts: Facts, weights: bool = True) -> Iterator[Breach]:
    """A GEMM with a stored weight is int8 only where both of its inputs come from DequantizeLinear.

    Without `weights` a quantised weight beside a float input is let be.
    """
    for node in facts.of(*_GEMMS):
        left, right = (facts.maker(value, "DequantizeLinear") for value in node.inputs[:2])
        stored = facts.is_constant(node.inputs[1]) or (right is not None and _stores(facts, right))
        if stored and (left is None) != (right is None) and (weights or left is not None):
            side = "its weight, not its input," if left is None else "its input, not its weight,"
            yield Breach(name_of(node), f"Only {side} is quantised, so that it computes in floating point.")


def _weight_scales(facts: Facts) -> Iterator[tuple[ir.Node, ir.Node, int]]:
    """Every GEMM with a dequantised stored weight, the DequantizeLinear, and the axis that the outputs lie along."""
    for node in facts.of(*_GEMMS):
        weight = facts.maker(node.inputs[1], "DequantizeLinear")
        if weight is not None and _stores(facts, weight):
            turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
            yield node, weight, 0 if turned else 1


def _wrong_axis(facts: Facts) -> Iterator[Breach]:
    for node, weight, axis in _weight_scales(facts):
        found = weight.attributes.get_int("axis", 1)
        rank = len(weight.inputs[0].shape) if weight.inputs[0] is not None and weight.inputs[0].shape else 2
        if _size(weight.inputs[1]) > 1 and found % rank != axis:
            yield Breach(name_of(node), f"Its weight has scales along axis {found}, its outputs lie along {axis}.")


def _per_tensor(facts: Facts) -> Iterator[Breach]:
    for node, weight, axis in _weight_scales(facts):
        shape = weight.inputs[0].shape if weight.inputs[0] is not None else None
        single = shape is not None and len(shape) == 2 and shape[axis] == 1  # one output has one scale
        if _size(weight.inputs[1]) == 1 and not single:
            yield Breach(name_of(node), "Its weight has one scale, so that Q, K and V do not become one GEMM.")


def _stores(facts: Facts, dequantize: ir.Node) -> bool:
    """Whether what `dequantize` reads is stored: int8 numbers, or floats that a QuantizeLinear reads first."""
    source = dequantize.inputs[0]
    quantize = facts.maker(source, "QuantizeLinear")
    return facts.is_constant(quantize.inputs[0] if quantize is not None else source)


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if len(node.inputs) > index else None


def _size(value: ir.Value | None) -> int:
    """How many numbers a scale has; 1 where that is not known."""
    if value is None:
        return 1
    if value.const_value is not None:
        return int(value.const_value.size)
    sizes = [size for size in value.shape if isinstance(size, int)] if value.shape is not None else []
    return int(np.prod(sizes)) if sizes else 1


QUANTIZATION_RULES = (
    Rule("symmetric-zero-point", "refused", "Quantise symmetrically, with zero points of 0.", _zero_point),
    Rule(
        "signed-int8",
        "refused",
        "Quantise to int8: give Q and DQ an int8 zero point.",
        _unsigned,
        stricter="RTX's parser lets uint8 with a zero point of 0 through; TensorRT's refuses it outside DLA.",
    ),
    Rule("positive-scale", "refused", "Calibrate again: a scale is the largest value over 127.", _scales),
    Rule(
        "stored-scale",
        "refused",
        "Store the scale in the graph: static quantisation, not dynamic.",
        _computed_scale,
        stricter="RTX builds a computed scale, but TensorRT 10 wants scales that can be resolved at build time.",
    ),
    Rule(
        "activation-per-tensor",
        "slow",
        "Give activations one scale; only weights have one per channel.",
        _channels,
    ),
    Rule(
        "written-axis",
        "refused",
        "Write the attribute axis.",
        unsaid_axis,
        stricter="ONNX's default is 1, parsers have had others, and nothing fails where they differ but the numbers.",
    ),
    Rule("no-int8-blocks", "refused", "Use one scale per output channel.", _blocks),
    Rule("no-int32-dequantize", "refused", "Store biases as floats.", _int32),
    Rule("int8-weight-beside-dequantize", "refused", "Transpose or look up after DequantizeLinear.", _loose_int8),
    Rule("distinct-names", "refused", "Give every QuantizeLinear and DequantizeLinear its own name.", _names),
    Rule("both-sides-quantised", "slow", "Quantise the other side too, or neither.", half_quantised),
    Rule("weight-axis", "slow", "Quantise weights along their outputs: axis 1 of [in, out].", _wrong_axis),
    Rule("weight-per-channel", "slow", "Quantise weights per output channel.", _per_tensor),
)
