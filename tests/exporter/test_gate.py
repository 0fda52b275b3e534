"""The gate: what is canonical passes, what is not is refused in words that say where, and is not published."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter import pipeline
from bvx.exporter.gate import check_canonical, faults
from bvx.exporter.passes import CANONICAL, run_passes
from bvx.exporter.plan import ExportPlan
from bvx.runtime.errors import UnsupportedModel
from bvx.runtime.manifest import PassLog


@pytest.fixture
def bert(captured: Callable) -> Any:
    """The capture of a BERT of three layers with its language model's head."""
    return captured("bert", "fill-mask", num_hidden_layers=3)


@pytest.fixture
def graph(bert: Any) -> ir.Graph:
    """Its canonical graph."""
    return bert.canonical()[0].graph


@pytest.fixture
def refusals(bert: Any) -> Callable[[ir.Graph], list[str]]:
    """What the gate says of a changed graph of that BERT."""
    return lambda graph: list(faults(graph, bert.family, bert.config, bert.task, weights_of(bert)))


def weights_of(capture) -> int:
    return sum(4 * parameter.numel() for parameter in capture.model.parameters())


def find(graph: ir.Graph, name: str) -> ir.Node:
    (found,) = (node for node in graph if node.name == name)
    return found


def attention(layer: int) -> str:
    return f"layer.{layer}.attention.self.Attention"


def replace(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    new.name = old.name
    ir.convenience.replace_nodes_and_values(graph, old, [old], [new], [old.outputs[0]], [new.outputs[0]])


def add(graph: ir.Graph, name: str, operator: str, inputs: list[ir.Value], domain: str = "") -> ir.Node:
    node = ir.Node(domain, operator, inputs, name=name)
    graph.append(node)
    return node


def store(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Another initializer."""
    value = ir.Value(name=name, const_value=ir.tensor(array))
    graph.register_initializer(value)
    return value


def array_of(graph: ir.Graph, operator: str) -> np.ndarray:
    """The weight that an operator multiplies with."""
    value = find(graph, operator).inputs[1]
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def test_every_canonical_graph_passes(captured: Callable, cell: tuple[str, str]) -> None:
    capture = captured(*cell)
    check_canonical(capture.canonical()[0], capture.family, capture.config, capture.task, weights_of(capture))


def test_an_albert_of_groups_passes(captured: Callable) -> None:
    capture = captured("albert", "fill-mask", inner_group_num=2, num_hidden_groups=2)
    check_canonical(capture.canonical()[0], capture.family, capture.config, capture.task, weights_of(capture))


def test_every_fault_is_refused_in_one_sentence_with_what_to_do(bert: Any, graph: ir.Graph) -> None:
    add(graph, "cls.Where", "Where", [])
    store(graph, "again", array_of(graph, "layer.1.attention.self.query.MatMul").copy())
    with pytest.raises(UnsupportedModel) as refused:
        check_canonical(ir.Model(graph, ir_version=10), bert.family, bert.config, "fill-mask", weights_of(bert))
    cause = refused.value.cause
    assert cause.startswith("The exported graph is not what bert for fill-mask must be, and is not published: 1 Where")
    assert "; again is stored again as" in cause
    assert "report it" in str(refused.value.next_step)


def test_a_layer_without_its_attention_is_named(graph: ir.Graph, refusals: Callable) -> None:
    old = find(graph, attention(2))
    replace(graph, old, ir.Node("", "Identity", old.inputs[:1]))
    assert refusals(graph) == ["2 Attention for 3 layers (0 in layer 2)"]


def test_a_layer_with_a_second_attention_is_named(graph: ir.Graph, refusals: Callable) -> None:
    first = find(graph, attention(1))
    second = ir.Node("", "Attention", first.inputs, first.attributes.values(), name=f"{first.name}_1")
    graph.insert_after(first, second)
    assert refusals(graph) == ["4 Attention for 3 layers (2 in layer 1)"]


def test_an_attention_that_lost_its_layers_name_is_noticed(graph: ir.Graph, refusals: Callable) -> None:
    find(graph, attention(0)).name = "attention"
    assert refusals(graph) == ["3 Attention for 3 layers (0 in layer 0)"]


def test_graphs_without_any_attention_name_every_layer(graph: ir.Graph, refusals: Callable) -> None:
    for layer in range(3):
        old = find(graph, attention(layer))
        replace(graph, old, ir.Node("", "Identity", old.inputs[:1]))
    assert refusals(graph) == ["0 Attention for 3 layers (0 in layer 0, 0 in layer 1, 0 in layer 2)"]


def decompose(graph: ir.Graph, name: str) -> None:
    """The LayerNormalization called `name` becomes a subtraction of the mean (and the rest, of which there is none)."""
    old = find(graph, name)
    mean = ir.Node("", "ReduceMean", old.inputs[:1], name=f"{name}.mean")
    graph.insert_before(old, mean)
    replace(graph, old, ir.Node("", "Sub", [old.inputs[0], mean.outputs[0]]))


OUTPUT = "output.LayerNorm.LayerNormalization"


@pytest.mark.parametrize(
    ("names", "where"),
    [
        ([f"layer.1.{OUTPUT}"], "1 in layer 1"),
        ([f"layer.0.{OUTPUT}", f"layer.2.attention.{OUTPUT}"], "1 in layer 0, 1 in layer 2"),
        ([f"layer.2.{OUTPUT}", f"layer.2.attention.{OUTPUT}"], "0 in layer 2"),
        (["bert.embeddings.LayerNorm.LayerNormalization"], "2 in each layer, 1 outside of them"),
    ],
)
def test_a_layer_normalization_that_is_spelt_out_is_located(
    graph: ir.Graph, refusals: Callable, names: list[str], where: str
) -> None:
    for name in names:
        decompose(graph, name)
    assert refusals(graph) == [f"{8 - len(names)} LayerNormalization, wanted 8 ({where})"]


@pytest.mark.parametrize("operator", ["IsNaN", "Where", "Range", "GatherND", "NonZero", "If", "Loop"])
def test_an_operator_of_the_masks_preamble_is_named(graph: ir.Graph, refusals: Callable, operator: str) -> None:
    add(graph, f"layer.1.attention.self.{operator}", operator, list(graph.inputs[:1]))
    assert refusals(graph) == [f"1 {operator} left over (layer.1.attention.self.{operator})"]


def test_a_second_mask_is_named(graph: ir.Graph, refusals: Callable) -> None:
    node = find(graph, attention(1))
    own = ir.Node("", "Not", [node.inputs[3]], name="layer.1.attention.self.Not")
    graph.insert_before(node, own)
    node.replace_input_with(3, own.outputs[0])
    assert refusals(graph) == [f"{attention(1)} has a mask of its own"]


def test_a_missing_mask_is_named(graph: ir.Graph, refusals: Callable) -> None:
    find(graph, attention(2)).resize_inputs(3)
    find(graph, attention(0)).replace_input_with(3, None)
    assert refusals(graph) == [f"{attention(0)} has no mask", f"{attention(2)} has no mask"]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("operator", ["layer.1.attention.self.query.MatMul", "layer.2.intermediate.dense.MatMul"])
def test_a_weight_that_is_stored_again_is_named(
    graph: ir.Graph, refusals: Callable, operator: str, transposed: bool
) -> None:
    first = find(graph, operator).inputs[1]
    array = array_of(graph, operator)
    store(graph, "the same", np.ascontiguousarray(array.T if transposed else array))
    assert first is not None
    assert refusals(graph)[0] == f"the same is stored again as {first.name}"


def test_a_tied_table_whose_transpose_is_stored_is_named(graph: ir.Graph, refusals: Callable) -> None:
    table = find(graph, "bert.embeddings.word_embeddings.Gather").inputs[0]
    assert table is not None and table.const_value is not None
    store(graph, "its transpose", np.ascontiguousarray(table.const_value.numpy().T))
    again, too_large = refusals(graph)
    assert again == f"its transpose is stored again as {table.name}"
    assert "bytes of stored numbers" in too_large


def test_a_weight_that_is_stored_again_inside_a_node_is_named(graph: ir.Graph, refusals: Callable) -> None:
    operator = "layer.1.attention.self.query.MatMul"
    node = add(graph, "hidden", "Constant", [])
    node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array_of(graph, operator).copy()))
    first = find(graph, operator).inputs[1]
    assert first is not None
    assert f"hidden is stored again as {first.name}" in refusals(graph)


def test_matrices_that_are_equal_by_chance_are_none_of_its_business(graph: ir.Graph, refusals: Callable) -> None:
    """Zeros, as in a layer that was pruned away; and equal bytes in another shape than the transpose's."""
    store(graph, "zeros", np.zeros((4, 8), np.float32))
    store(graph, "zeros of another shape", np.zeros((8, 4), np.float32))
    numbers = np.arange(32, dtype=np.float32)
    store(graph, "numbers", numbers.reshape(4, 8))
    store(graph, "numbers of another shape", numbers.reshape(8, 4))
    assert refusals(graph) == []


def test_too_many_bytes_are_refused(bert: Any, graph: ir.Graph, refusals: Callable) -> None:
    weights = weights_of(bert)
    store(graph, "halves", np.arange(weights // 40, dtype=np.float32))
    (fault,) = refusals(graph)
    assert fault.endswith(f"bytes of stored numbers for {weights} bytes of weights")


def test_another_operator_set_is_refused(graph: ir.Graph, refusals: Callable) -> None:
    graph.opset_imports["com.microsoft"] = 1
    assert refusals(graph) == ["operator sets {'': 23, 'com.microsoft': 1}, wanted the standard one, 23, alone"]
    graph.opset_imports.clear()
    graph.opset_imports[""] = 22
    assert refusals(graph) == ["operator sets {'': 22}, wanted the standard one, 23, alone"]


def test_an_operator_of_a_foreign_domain_is_named(graph: ir.Graph, refusals: Callable) -> None:
    add(graph, "layer.0.BiasGelu", "BiasGelu", list(graph.inputs[:1]), domain="com.microsoft")
    assert refusals(graph) == ["1 operators that are not standard ONNX (layer.0.BiasGelu of com.microsoft)"]


def test_nothing_is_published_when_the_gate_refuses(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_an_attention(model: ir.Model) -> PassLog:
        old = find(model.graph, attention(1))
        replace(model.graph, old, ir.Node("", "Identity", old.inputs[:1]))
        return PassLog("lose_an_attention", 1)

    passes = functools.partial(run_passes, passes=(*CANONICAL, lose_an_attention))
    monkeypatch.setattr(pipeline, "run_passes", passes)
    checkpoint = tiny_checkpoint("bert", "feature-extraction", tmp_path / "checkpoint")
    home = tmp_path / "out"
    home.mkdir()
    with pytest.raises(UnsupportedModel, match=r"not published: 2 Attention for 3 layers \(0 in layer 1\)"):
        pipeline.export(ExportPlan(str(checkpoint), home / "bundle"))
    assert list(home.iterdir()) == []
