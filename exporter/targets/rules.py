"""What an int8 graph for the CPU keeps to. Rules for TensorRT, some of which it shares, are in exporter/checker."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx_ir as ir

from ...calibration.weights import REDUCED
from ..checker import Breach, Rule
from ..checker.facts import Facts, name_of
from ..checker.quantization import half_quantised, unsaid_axis

__all__ = ["CPU_INT8_RULES", "broken_rules"]

_PAIR = ("QuantizeLinear", "DequantizeLinear")


def broken_rules(model: ir.Model, reduced: bool = False) -> dict[str, tuple[Breach, ...]]:
    """The rules that an int8 graph for the CPU breaks, by name, and where. `reduced` asks for reduced weights too."""
    facts = Facts(model, (0, 0))
    rules = (*CPU_INT8_RULES, *((_REDUCED,) if reduced else ()))
    found = {rule.name: tuple(rule.find(facts)) for rule in rules}
    return {name: breaches for name, breaches in found.items() if breaches}


def _signed_activations(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("QuantizeLinear"):
        if facts.dtype(node.outputs[0]) != ir.DataType.UINT8:
            yield Breach(name_of(node), "It quantises to another type than uint8.")


def _unsigned_weights(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("DequantizeLinear"):
        value = node.inputs[0]
        if facts.is_constant(value) and facts.dtype(value) not in (ir.DataType.INT8, ir.DataType.INT32):
            yield Breach(name_of(node), "It dequantises a stored value that is neither int8 nor an int32 bias.")


def _shifted_weights(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("DequantizeLinear"):
        zero = facts.constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if facts.is_constant(node.inputs[0]) and (zero is None or zero.any()):
            yield Breach(name_of(node), "Its zero point is not written, or is not 0.")


def _dead_scales(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*_PAIR):
        scale = facts.constant(node.inputs[1])
        if scale is None or not (np.isfinite(scale) & (scale > 0)).all():
            yield Breach(name_of(node), "Its scale is not a stored number that is positive.")


def _copies(facts: Facts) -> Iterator[Breach]:
    first: dict[bytes, str] = {}
    for name, value in facts.model.graph.initializers.items():
        numbers = facts.constant(value)
        if numbers is None or numbers.dtype != np.int8 or numbers.ndim != 2:
            continue
        readers = [use.node for use in value.uses() if use.node.op_type == "DequantizeLinear"]
        if len(readers) > 1:
            yield Breach(name, f"{len(readers)} nodes dequantise it.")
        for twin in (numbers, numbers.T):
            known = first.setdefault(twin.tobytes() + repr(twin.shape).encode(), name)
            if known != name:
                yield Breach(name, f"It is {known}, stored again.")


def _floats_looked_up(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("Gather"):
        maker = facts.maker(node.inputs[0], "DequantizeLinear")
        if maker is not None and facts.is_constant(maker.inputs[0]):
            yield Breach(name_of(node), "It reads a table that is turned into floats as a whole, on every run.")


def _wide_weights(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("MatMul", "Gemm"):
        maker = facts.maker(node.inputs[1], "DequantizeLinear")
        numbers = facts.constant(maker.inputs[0]) if maker is not None else None
        if numbers is not None and np.abs(numbers.astype(np.int16)).max(initial=0) > REDUCED:
            yield Breach(name_of(node), f"Its weight goes beyond {REDUCED}.")


_REDUCED = Rule("reduced-weights", "inaccurate", "Quantise the weight with reduced=True.", _wide_weights)

CPU_INT8_RULES: tuple[Rule, ...] = (
    Rule("uint8-activations", "slow", "ONNX Runtime fuses only uint8 activations on x86.", _signed_activations),
    Rule("int8-weights", "slow", "Store weights as int8.", _unsigned_weights),
    Rule("symmetric-weights", "slow", "Write a zero point of 0 for every channel.", _shifted_weights),
    Rule("written-axis", "inaccurate", "Write the attribute axis.", partial(unsaid_axis, least=1)),
    Rule("positive-scale", "inaccurate", "Give channels of zeros the scale 1.", _dead_scales),
    Rule("weights-stored-once", "large", "Let every reader share one DequantizeLinear.", _copies),
    Rule("integer-look-up", "slow", "Look rows up as int8, then multiply by their scales.", _floats_looked_up),
    # A layer that is kept reads the weight that others share dequantised, so that it is stored once.
    Rule("both-sides-quantised", "slow", "Quantise the weight, or neither.", partial(half_quantised, weights=False)),
)
