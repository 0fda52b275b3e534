"""Rules about attention: what has a fused kernel. An Attention node without one is not built at all."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from .facts import Facts, name_of
from .rule import Breach, Rule

__all__ = ["ATTENTION_RULES", "LARGEST_HEAD", "SMALLEST_HEAD"]

SMALLEST_HEAD, LARGEST_HEAD = 16, 256
"""Head sizes with a fused kernel, in steps of 8. Measured with TensorRT-RTX 1.7.1 (docs/tensorrt.md)."""

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


def _not_half(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("Attention"):
        dtype = facts.dtype(node.inputs[0])
        if dtype is not None and dtype not in _HALVES:
            yield Breach(name_of(node), f"Attention in {dtype.name} has no fused kernel, and is not taken apart.")


def _head_size(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("Attention"):
        width, heads = facts.width(node.inputs[0]), node.attributes.get_int("q_num_heads", 0)
        if width is None:
            continue
        size = width // heads if heads else width
        if size % 8 or not SMALLEST_HEAD <= size <= LARGEST_HEAD:
            yield Breach(name_of(node), f"Its heads are {size} wide.")


def _form(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("Attention"):
        heads = node.attributes.get_int("q_num_heads", 0)
        if node.attributes.get_float("softcap", 0.0):
            yield Breach(name_of(node), "It has a softcap.")
        if len(node.outputs) > 1:
            yield Breach(name_of(node), f"It has {len(node.outputs)} outputs.")
        if node.attributes.get_int("is_causal", 0) and len(node.inputs) > 3 and node.inputs[3] is not None:
            yield Breach(name_of(node), "It is causal and has a mask as well.")
        others = node.attributes.get_int("kv_num_heads", 0)
        widths = [facts.width(value) for value in node.inputs[:2]]
        if heads and others and None not in widths and widths[0] * others != widths[1] * heads:  # type: ignore[operator]
            yield Breach(name_of(node), "The heads of its keys are not as wide as those of its queries.")


ATTENTION_RULES = (
    Rule("attention-in-half", "refused", "Use fp16 or bf16, or take Attention apart for fp32.", _not_half),
    Rule(
        "fused-head-size",
        "refused",
        f"Fused kernels exist for head sizes from {SMALLEST_HEAD} to {LARGEST_HEAD} in steps of 8.",
        _head_size,
    ),
    Rule("plain-attention", "refused", "Leave out softcap, further outputs and the second mask.", _form),
)
