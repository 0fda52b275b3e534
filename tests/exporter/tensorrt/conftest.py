"""Graphs of every family as TensorRT wants them: small, with heads that have fused kernels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.targets.attention import take_apart
from bvx.exporter.targets.half import BF16, FP16, narrow

SHAPE = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "max_position_embeddings": 130}
"""Two heads of 32: the families' own tiny configurations have heads of 8, for which there is no kernel."""


@pytest.fixture(scope="session")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx, NVIDIA's builder, is not installed")


@pytest.fixture
def onnx_of(captured, tmp_path):
    """Writes the ONNX file of a family in a precision: onnx_of("bert", "fp16", **shape) -> its path."""

    def write(family, precision, task="text-classification", apart=False, **shape):
        graph, _ = captured(family, task, **{**SHAPE, **shape}).canonical()
        if apart:
            take_apart(graph.graph, [node.name for node in graph.graph if node.op_type == "Attention"])
        if precision == "int8":
            to_int8(graph)
        if precision != "fp32":
            narrow(graph, BF16 if precision == "bf16" else FP16)
        path = tmp_path / f"{family}.{precision}.onnx"
        ir.save(graph, path)
        return path

    return write


def to_int8(model):
    """Every linear layer but the classifier becomes int8: a scale for its input, one per output for its weight."""
    graph = model.graph

    def store(name, array):
        tensor = ir.tensor(array, name=name)
        value = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        graph.register_initializer(value)
        return value

    def add(before, operator, inputs, name, dtype, **attributes):
        node = ir.node(operator, inputs, attributes, name=name)
        node.outputs[0].name, node.outputs[0].type = f"{name}.out", ir.TensorType(dtype)
        node.outputs[0].shape = inputs[0].shape
        graph.insert_before(before, node)
        return node.outputs[0]

    zero, done = store("zero", np.zeros((), np.int8)), {}
    for node in list(graph):
        source, weight = node.inputs[:2] if node.op_type in ("MatMul", "Gemm") else (None, None)
        if weight is None or not weight.is_initializer() or "classifier" in node.name:
            continue
        if source not in done:
            scale = store(f"{source.name}.scale", np.float32(0.05))
            quantised = add(node, "QuantizeLinear", [source, scale, zero], f"{source.name}.Q", ir.DataType.INT8)
            done[source] = add(
                node, "DequantizeLinear", [quantised, scale, zero], f"{source.name}.DQ", ir.DataType.FLOAT
            )
        if weight not in done:
            axis = 1 - (node.attributes.get_int("transB", 0) if node.op_type == "Gemm" else 0)
            values = weight.const_value.numpy().astype(np.float32)
            scales = np.abs(values).max(axis=1 - axis, keepdims=True) / 127
            stored = [
                store(f"{weight.name}.int8", np.round(values / scales).astype(np.int8)),
                store(f"{weight.name}.scales", scales.ravel().astype(np.float32)),
                store(f"{weight.name}.zeros", np.zeros(scales.size, np.int8)),
            ]
            done[weight] = add(node, "DequantizeLinear", stored, f"{weight.name}.DQ", ir.DataType.FLOAT, axis=axis)
        node.replace_input_with(0, done[source])
        node.replace_input_with(1, done[weight])
    for name in [name for name, value in graph.initializers.items() if not value.uses()]:
        del graph.initializers[name]
