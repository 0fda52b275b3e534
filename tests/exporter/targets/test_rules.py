"""The rules of an int8 graph for the CPU: kept by what is written, and each found where it is broken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.targets.cpu import write_int8
from bvx.exporter.targets.rules import CPU_INT8_RULES, broken_rules


def first(graph: ir.Graph, operator: str, stored: bool | None = None) -> ir.Node:
    return next(
        node
        for node in graph
        if node.op_type == operator and (stored is None or node.inputs[0].is_initializer() == stored)
    )


def store(value: ir.Value, array: np.ndarray) -> None:
    value.const_value = ir.Tensor(np.asarray(array), name=value.name)
    value.dtype = value.const_value.dtype


def signed_activation(graph):
    node = first(graph, "QuantizeLinear")
    store(node.inputs[2], np.int8(0))
    node.outputs[0].dtype = ir.DataType.INT8


def unsigned_weight(graph):
    node = first(graph, "DequantizeLinear", stored=True)
    store(node.inputs[0], (node.inputs[0].const_value.numpy().astype(np.int16) + 128).astype(np.uint8))


def shifted_weight(graph):
    zero = first(graph, "DequantizeLinear", stored=True).inputs[2]
    store(zero, zero.const_value.numpy() + np.int8(1))


def no_axis(graph):
    del first(graph, "DequantizeLinear", stored=True).attributes["axis"]


def zero_scale(graph):
    scale = first(graph, "DequantizeLinear", stored=True).inputs[1]
    store(scale, scale.const_value.numpy() * np.float32(0))


def second_copy(graph):
    node = first(graph, "DequantizeLinear", stored=True)
    tensor = ir.Tensor(np.ascontiguousarray(node.inputs[0].const_value.numpy().T), name="copy")
    graph.register_initializer(ir.Value(name="copy", type=ir.TensorType(tensor.dtype), const_value=tensor))


def second_reader(graph):
    node = first(graph, "DequantizeLinear", stored=True)
    graph.insert_after(node, ir.node("DequantizeLinear", node.inputs, {"axis": 1}, name="again"))


def float_table(graph):
    rows = next(node for node in graph if node.op_type == "Gather" and node.inputs[0].dtype == ir.DataType.INT8)
    scale = graph.initializers[f"{rows.inputs[0].name}.scale"]
    floats = ir.node("DequantizeLinear", [rows.inputs[0], scale], {"axis": 0}, name="floats")
    graph.insert_before(rows, floats)
    rows.replace_input_with(0, floats.outputs[0])


def float_weight(graph):
    node = first(graph, "MatMul")
    source = node.inputs[1].producer().inputs[0]
    tensor = ir.Tensor(source.const_value.numpy().astype(np.float32), name="float")
    value = ir.Value(name="float", shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    node.replace_input_with(1, value)


MUTATIONS: tuple[tuple[str, Callable[[ir.Graph], None]], ...] = (
    ("uint8-activations", signed_activation),
    ("int8-weights", unsigned_weight),
    ("symmetric-weights", shifted_weight),
    ("written-axis", no_axis),
    ("positive-scale", zero_scale),
    ("weights-stored-once", second_copy),
    ("weights-stored-once", second_reader),
    ("integer-look-up", float_table),
    ("both-sides-quantised", float_weight),
)


@pytest.fixture(scope="module")
def written(case_of) -> ir.Model:
    case = case_of("albert", "fill-mask")
    model = case.graph.clone()
    write_int8(model, case.recipe)
    return model


def test_what_is_written_breaks_none(written):
    assert broken_rules(written, reduced=True) == {}


@pytest.mark.parametrize(("rule", "mutate"), MUTATIONS, ids=lambda one: one if isinstance(one, str) else one.__name__)
def test_a_mutation_is_found(written, rule, mutate):
    model = written.clone()
    mutate(model.graph)
    assert rule in broken_rules(model)


def test_every_rule_has_a_mutation():
    assert {rule for rule, _ in MUTATIONS} == {rule.name for rule in CPU_INT8_RULES}


def test_weights_of_full_range_are_not_reduced(case_of):
    case = case_of("albert", "fill-mask", reduced=False)
    model = case.graph.clone()
    write_int8(model, case.recipe)
    assert set(broken_rules(model, reduced=True)) == {"reduced-weights"} and not broken_rules(model)
