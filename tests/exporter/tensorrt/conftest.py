"""Graphs of every family as TensorRT wants them: small, with heads that have fused kernels."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.exporter.targets.attention import take_apart
from bvx.exporter.targets.half import BF16, FP16, narrow
from bvx.exporter.targets.strongly_typed import write_fp8
from bvx.exporter.targets.tensorrt import write_int8

SHAPE = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "max_position_embeddings": 130}
"""Two heads of 32: the families' own tiny configurations have heads of 8, for which there is no kernel."""


@pytest.fixture(scope="session")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx, NVIDIA's builder, is not installed")


@pytest.fixture
def onnx_of(captured, tmp_path):
    """Writes the ONNX file of a family in a precision: onnx_of("bert", "fp16", **shape) -> its path.

    "int8-attention" is int8 with the products inside attention in int8 too.
    """

    def write(family, precision, task="text-classification", apart=False, **shape):
        graph, _ = captured(family, task, **{**SHAPE, **shape}).canonical()
        if apart:
            take_apart(graph.graph, [node.name for node in graph.graph if node.op_type == "Attention"])
        if precision.startswith(("int8", "fp8")):
            write_low = write_int8 if precision.startswith("int8") else write_fp8
            write_low(graph, make_recipe(graph, precision.endswith("-attention")))
        elif precision != "fp32":
            narrow(graph, BF16 if precision == "bf16" else FP16)
        path = tmp_path / f"{family}.{precision}.onnx"
        ir.save(graph, path)
        return path

    return write


def make_recipe(graph, attention):
    """Every linear layer, with made-up ranges: what an engine consists of does not depend on them."""
    names = [str(value.name) for node in graph.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
    bounds, peaks = dict.fromkeys(names, (-4.0, 4.0)), dict.fromkeys(names, 4.0)
    ranges = Ranges("minmax", Corpus("none", 0, 0, 0, 0, ""), bounds, peaks)
    return plain_recipe(graph.graph, ranges, attention=attention, embeddings=False)
