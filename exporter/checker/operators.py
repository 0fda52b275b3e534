"""Rules about single operators: which there are, in which form, and from which version on."""

from __future__ import annotations

from collections.abc import Iterator

from .facts import Facts, name_of
from .rule import Breach, Rule

__all__ = ["ATTENTION_SINCE", "OPERATOR_RULES", "UNSUPPORTED"]

ATTENTION_SINCE = (10, 14)
"""The first version whose parser reads opset 23's Attention (onnx-tensorrt's changelog)."""

UNSUPPORTED = frozenset(
    {
        "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
        "BitwiseXor", "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "CumProd",
        "DFT", "DeformConv", "Det", "DynamicQuantizeLinear", "ImageDecoder", "MatMulInteger", "MaxRoiPool",
        "MaxUnpool", "MelWeightMatrix", "Multinomial", "NegativeLogLikelihoodLoss", "NonZero", "Optional",
        "OptionalGetElement", "OptionalHasElement", "QLinearConv", "QLinearMatMul", "RegexFullMatch",
        "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
        "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat",
        "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique",
    }
)  # fmt: skip
"""Standard operators that TensorRT-RTX 1.7.1's parser does not support (a test asks it); NonZero wants a plugin."""

_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")


def _unsupported(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*UNSUPPORTED):
        why = "is left to a plugin that does not come with it" if node.op_type == "NonZero" else "has no importer"
        yield Breach(name_of(node), f"{node.op_type} {why}.")


def _foreign(facts: Facts) -> Iterator[Breach]:
    for node in facts.nodes:
        if node.domain not in ("", "ai.onnx"):
            yield Breach(name_of(node), f"{node.op_type} is of the domain {node.domain}.")


def _early_attention(facts: Facts) -> Iterator[Breach]:
    if facts.version < ATTENTION_SINCE:
        for node in facts.of("Attention"):
            found = ".".join(map(str, facts.version))
            yield Breach(name_of(node), f"TensorRT {found} cannot read Attention; 10.14 is the first that can.")


def _computed_axes(facts: Facts) -> Iterator[Breach]:
    for node in facts.of(*(f"Reduce{name}" for name in _REDUCTIONS)):
        if len(node.inputs) > 1 and node.inputs[1] is not None and not facts.is_constant(node.inputs[1]):
            yield Breach(name_of(node), f"The axes of {node.op_type} are computed.")


def _statistics(facts: Facts) -> Iterator[Breach]:
    for node in facts.of("LayerNormalization"):
        if len(node.outputs) > 1:
            yield Breach(name_of(node), f"LayerNormalization has {len(node.outputs)} outputs.")


OPERATOR_RULES = (
    Rule("supported-operators", "refused", "Export the graph without this operator.", _unsupported),
    Rule(
        "standard-operators",
        "refused",
        "Make the graph without another runtime's fusions: `bvx export` does.",
        _foreign,
        stricter="The parser looks operators up by name alone, so com.microsoft's Gelu passes as ONNX's, whatever it "
        "computes.",
    ),
    Rule(
        "attention-since-10.14",
        "refused",
        "Build with TensorRT 10.14 or later, or with `bvx build`, which takes it apart for an older one.",
        _early_attention,
        stricter="The builder that tests can ask is newer than 10.14.",
    ),
    Rule("constant-axes", "refused", "Store the axes in the graph.", _computed_axes),
    Rule("one-normalisation-output", "refused", "Leave out the outputs mean and deviation.", _statistics),
)
