"""Each way in which an export has ever been subtly wrong must fail parity, through the runtime that serves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from bvx.exporter import parity
from bvx.exporter.families import FP32
from bvx.runtime.loading import load
from bvx.runtime.parity import ParityReport

Mutation = Callable[[ir.Graph], None]


def node(graph: ir.Graph, name: str) -> ir.Node:
    return next(each for each in graph if each.name == name)


def nodes(graph: ir.Graph, operator: str) -> list[ir.Node]:
    found = [each for each in graph if each.op_type == operator]
    assert found
    return found


def replace_input(graph: ir.Graph, name: str, index: int, change: Callable[[NDArray], NDArray]) -> None:
    """Give one operator a changed copy of the constant that it reads; others that read it keep theirs."""
    user = node(graph, name)
    old = user.inputs[index]
    assert old is not None and old.const_value is not None
    array = np.ascontiguousarray(change(old.const_value.numpy()))
    new = ir.Value(name=f"{name}.mutated", shape=ir.Shape(array.shape), type=old.type)
    new.const_value = ir.tensor(array, name=new.name)
    graph.register_initializer(new)
    user.replace_input_with(index, new)


def shift_positions(graph: ir.Graph) -> None:
    replace_input(graph, "embeddings.Add", 1, lambda padding: padding - 1)


def swap_token_types(graph: ir.Graph) -> None:
    replace_input(graph, "embeddings.token_type_embeddings.Gather", 0, lambda table: table[::-1])


def drop_mask(graph: ir.Graph) -> None:
    for attention in nodes(graph, "Attention"):
        attention.replace_input_with(3, None)


def swap_gelu(graph: ir.Graph) -> None:
    for gelu in nodes(graph, "Gelu"):
        approximate = gelu.attributes.get("approximate")
        other = "none" if approximate is not None and approximate.as_string() == "tanh" else "tanh"
        gelu.attributes["approximate"] = ir.AttrString("approximate", other)


def swap_one_gelu(graph: ir.Graph) -> None:
    gelu = nodes(graph, "Gelu")[-1]
    gelu.attributes["approximate"] = ir.AttrString("approximate", "tanh")


def take_layer_from_elsewhere(graph: ir.Graph) -> None:
    other = np.random.default_rng(1)
    for module in ("attention.query", "attention.dense", "ffn"):
        name = f"layer.2.{module}.MatMul"
        replace_input(graph, name, 1, lambda weight: other.normal(0, 0.4, weight.shape).astype(weight.dtype))


def widen_epsilon(graph: ir.Graph) -> None:
    for norm in nodes(graph, "LayerNormalization"):
        norm.attributes["epsilon"] = ir.AttrFloat32("epsilon", 1e-5)


def transpose_weight(graph: ir.Graph) -> None:
    replace_input(graph, "layer.1.attention.output.dense.MatMul", 1, np.transpose)


def zero_bias(graph: ir.Graph) -> None:
    replace_input(graph, "layer.0.intermediate.dense.Add", 1, np.zeros_like)


def swap_query_and_key(graph: ir.Graph) -> None:
    attention = nodes(graph, "Attention")[0]
    query, key = attention.inputs[:2]
    attention.replace_input_with(0, key)
    attention.replace_input_with(1, query)


def change_scale(graph: ir.Graph) -> None:
    attention = nodes(graph, "Attention")[0]
    attention.attributes["scale"] = ir.AttrFloat32("scale", attention.attributes["scale"].as_float() * 1.001)


@pytest.fixture
def check(exported: Callable, mutated: Callable) -> Callable[[str, Mutation], ParityReport]:
    def run(family: str, mutation: Mutation) -> ParityReport:
        original = exported(family, "feature-extraction")
        with load(mutated(original, mutation)) as encoder:
            return parity.check(original.checkpoint, encoder, FP32)

    return run


@pytest.mark.parametrize("family", ["albert", "bert", "roberta"])
def test_an_unchanged_graph_passes(check: Callable, family: str) -> None:
    assert check(family, lambda graph: None)


@pytest.mark.parametrize(
    ("family", "mutation", "where"),
    [
        ("roberta", shift_positions, "embeddings"),
        ("bert", swap_token_types, "embeddings"),
        ("bert", drop_mask, "layer.0"),
        ("roberta", drop_mask, "layer.0"),
        ("bert", swap_gelu, "layer.0"),
        ("bert", swap_one_gelu, "layer.2"),
        ("albert", swap_gelu, "layer.0"),
        ("albert", take_layer_from_elsewhere, "layer.2"),
        ("bert", widen_epsilon, "embeddings"),
        ("bert", transpose_weight, "layer.1"),
        ("roberta", zero_bias, "layer.0"),
        ("bert", swap_query_and_key, "layer.0"),
        ("bert", change_scale, "layer.0"),
    ],
)
def test_a_wrong_graph_fails_and_the_layer_is_named(
    check: Callable, family: str, mutation: Mutation, where: str
) -> None:
    report = check(family, mutation)
    assert not report
    assert report.diverged_at is not None and report.diverged_at.startswith(where)
    assert report.diverged_at in report.summary()
