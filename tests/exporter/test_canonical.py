"""The canonical graph of every family and task: what is in it, and that it says what transformers says."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.passes import CANONICAL, run_passes
from bvx.exporter.passes.decoders import keep_tied_tables
from bvx.exporter.passes.linears import is_transposed_weight
from bvx.runtime.parity import compare

FAMILIES = ("albert", "bert", "electra", "roberta", "spanbert")
PER_TOKEN = ("fill-mask", "token-classification")
SPANS = ("question-answering", "replaced-token-detection")
LEFTOVERS = {"IsNaN", "Where", "Range", "GatherND", "NonZero", "If", "Loop", "Identity", "Constant"}


@pytest.fixture(scope="module")
def canonical(captured):
    cache = {}

    def find(family: str, task: str, **shape):
        key = (family, task, *shape.items())
        if key not in cache:
            cache[key] = captured(family, task, **shape).canonical()[0]
        return cache[key]

    return find


def layers_of(graph) -> list[int]:
    """The layer of every Attention, in the order in which they run."""
    return [int(re.match(r"layer\.(\d+)\.", node.name)[1]) for node in graph.graph if node.op_type == "Attention"]


def assert_layers_in_order(graph, layers: int) -> None:
    assert layers_of(graph) == list(range(layers))
    names = [node.name for node in graph.graph]
    assert len(set(names)) == len(names)
    run = [int(match[1]) for name in names if (match := re.match(r"layer\.(\d+)\.", name))]
    assert run == sorted(run), "a layer's nodes run after those of the next"
    # Every layer has the same parts.
    parts = [Counter(name.split(".", 2)[2] for name in names if name.startswith(f"layer.{i}.")) for i in range(layers)]
    assert all(part == parts[0] for part in parts)


def axes_of(task: str, output: str) -> list[str]:
    """The axes of an output; one that is not named has a fixed number of entries."""
    if task in SPANS:
        return ["batch", "sequence"]
    per_token = task in PER_TOKEN or output in ("last_hidden_state", "prediction_logits")
    return ["batch", "sequence", "number"] if per_token else ["batch", "number"]


def assert_agrees(capture, graph, run_graph, batch: int, length: int, padding: str = "mixed") -> None:
    feeds = capture.feeds(batch, length, padding)
    found, expected = run_graph(graph, feeds), capture.reference(feeds)
    assert list(found) == list(capture.outputs)
    for name, reference in expected.items():
        row = compare(padding, name, reference, found[name], capture.family.tolerances["fp32"])
        assert row.passed, f"{name} at {batch} x {length}, padding {padding}: {row}"


def test_the_operators_are_those_of_the_family(captured, canonical, cell):
    capture, graph = captured(*cell), canonical(*cell)
    counts = Counter(node.op_type for node in graph.graph)
    assert counts["Attention"] == capture.family.layers(capture.config)
    assert counts["LayerNormalization"] == capture.family.layer_norms(capture.config, capture.task)
    assert not LEFTOVERS & set(counts)
    assert not {"Erf", "Pow", "Softmax"} & set(counts), "a GELU or an attention is spelt out"
    assert dict(graph.graph.opset_imports) == {"": 23}
    assert {node.domain for node in graph.graph} == {""} and not graph.functions


def test_one_expand_feeds_the_mask_of_every_layer(captured, canonical, cell):
    capture, graph = captured(*cell), canonical(*cell)
    (expand,) = (node for node in graph.graph if node.op_type == "Expand")
    readers = [use.node for use in expand.outputs[0].uses()]
    assert readers == [node for node in graph.graph if node.op_type == "Attention"]
    assert len(readers) == capture.family.layers(capture.config)


def test_axes_inputs_and_outputs_are_named(captured, canonical, cell):
    capture, graph = captured(*cell), canonical(*cell)
    assert [value.name for value in graph.graph.inputs] == list(capture.family.inputs)
    assert all([str(size) for size in value.shape] == ["batch", "sequence"] for value in graph.graph.inputs)
    assert [value.name for value in graph.graph.outputs] == list(capture.outputs)
    for value in graph.graph.outputs:
        found = ["number" if isinstance(size, int) else str(size) for size in value.shape]
        assert found == axes_of(capture.task, value.name)


def test_layers_are_named_in_the_order_in_which_they_run(captured, canonical, cell):
    capture = captured(*cell)
    assert_layers_in_order(canonical(*cell), capture.family.layers(capture.config))


def test_the_numbers_are_transformers_own(captured, canonical, run_graph, cell):
    capture, graph = captured(*cell), canonical(*cell)
    longest = capture.family.usable_length(capture.config)
    for batch, length in [(1, 1), (1, 2), (3, 2), (7, 1), (3, 13), (7, 31), (1, longest), (3, longest)]:
        assert_agrees(capture, graph, run_graph, batch, length)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padding", ["none", "left", "right", "middle"])
def test_padding_may_be_anywhere(captured, canonical, run_graph, family, padding):
    task = "feature-extraction"
    assert_agrees(captured(family, task), canonical(family, task), run_graph, 4, 11, padding)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_that_is_not_read_would_be_noticed(captured, canonical, run_graph, family):
    capture, graph = captured(family, "feature-extraction"), canonical(family, "feature-extraction")
    feeds = capture.feeds(3, 13)
    unmasked = run_graph(graph, {**feeds, "attention_mask": np.ones_like(feeds["attention_mask"])})
    for name, reference in capture.reference(feeds).items():
        assert not compare("no mask", name, reference, unmasked[name], capture.family.tolerances["fp32"]).passed


def test_a_second_run_of_every_pass_changes_nothing(canonical, cell):
    graph = canonical(*cell).clone()
    assert {log.name: log.applied for log in run_passes(graph) if log.applied} == {}


def test_no_weight_is_ever_stored_twice(captured, copies, stored_floats, cell):
    """A tied decoder, and in ALBERT one layer used many times: after each pass, one by one."""
    capture = captured(*cell)
    graph = capture.raw.clone()
    for one in CANONICAL:
        one(graph)
        assert not copies(graph), f"after {one.__name__}"
    assert stored_floats(graph) <= 1.03 * sum(4 * weight.numel() for weight in capture.model.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_choosing_between_texts_takes_no_more_operators_than_labelling_them(canonical, family):
    """transformers puts the choices on an axis of their own and takes it away again; of that nothing is left."""
    choosing, labelling = (
        Counter(node.op_type for node in canonical(family, task).graph)
        for task in ("multiple-choice", "text-classification")
    )
    assert choosing == labelling and "Reshape" not in choosing


@pytest.mark.parametrize("transposed", [False, True])
def test_a_planted_copy_is_found(captured, copies, transposed):
    graph = captured("albert", "fill-mask").canonical()[0]
    weight = graph.graph.initializers["predictions.dense.weight"].const_value.numpy()
    planted = ir.tensor(np.ascontiguousarray(weight.T if transposed else weight), name="planted")
    graph.graph.register_initializer(ir.Value(name="planted", const_value=planted))
    assert copies(graph) == ["planted is predictions.dense.weight"]


def test_a_copy_inside_a_node_is_found(captured, copies):
    graph = captured("albert", "fill-mask").canonical()[0]
    weight = graph.graph.initializers["predictions.dense.weight"].const_value.numpy()
    graph.graph.append(ir.node("Constant", [], {"value": ir.tensor(weight.T.copy())}, name="planted"))
    assert copies(graph) == ["planted is predictions.dense.weight"]


def test_folding_the_decoders_transpose_first_would_be_found(captured, copies):
    graph = captured("bert", "fill-mask").raw.clone()
    product = [node for node in graph.graph if node.op_type == "MatMul"][-1]
    table = is_transposed_weight(product.inputs[1])
    assert table is not None
    copy = ir.tensor(np.ascontiguousarray(table.const_value.numpy().T), name="folded")
    value = ir.Value(name="folded", shape=ir.Shape(copy.shape), type=table.type, const_value=copy)
    graph.graph.register_initializer(value)
    product.replace_input_with(1, value)
    assert keep_tied_tables(graph).applied == 0
    assert copies(graph) == [f"folded is {table.name}"]


@pytest.mark.parametrize(
    ("shape", "layers"),
    [({"num_hidden_groups": 2, "num_hidden_layers": 4}, 4), ({"inner_group_num": 2, "num_hidden_layers": 2}, 4)],
    ids=["two groups", "two inner layers"],
)
def test_alberts_groups_are_layers_of_their_own(captured, canonical, run_graph, copies, stored_floats, shape, layers):
    capture, graph = (
        captured("albert", "feature-extraction", **shape),
        canonical("albert", "feature-extraction", **shape),
    )
    assert capture.family.layers(capture.config) == layers
    assert_layers_in_order(graph, layers)
    assert not copies(graph)
    assert stored_floats(graph) <= 1.03 * sum(4 * weight.numel() for weight in capture.model.parameters())
    for batch, length in [(1, 1), (3, 13)]:
        assert_agrees(capture, graph, run_graph, batch, length)


@pytest.mark.parametrize("saved", [False, True], ids=["same tensors", "same bytes"])
@pytest.mark.parametrize("part", ["attention", "ffn"])
def test_one_part_of_a_layer_may_be_shared(tiny_model, capture_of, run_graph, copies, stored_floats, part, saved):
    """Two groups that share only attention, or only the feed-forward network; also when saving lost the tie."""
    model = tiny_model("albert", "feature-extraction", num_hidden_groups=2, num_hidden_layers=2)
    one, other = (group.albert_layers[0] for group in model.encoder.albert_layer_groups)
    for name in ["attention"] if part == "attention" else ["ffn", "ffn_output"]:
        for (path, weight), (_, twin) in zip(
            getattr(one, name).named_parameters(), list(getattr(other, name).named_parameters()), strict=True
        ):
            owner, _, last = path.rpartition(".")
            if saved:
                twin.data.copy_(weight.data)
            else:
                setattr(getattr(other, name).get_submodule(owner), last, weight)
    capture = capture_of(model, "albert", "feature-extraction")
    distinct = {weight.detach().numpy().tobytes(): 4 * weight.numel() for weight in model.parameters()}
    graph = capture.raw.clone()
    for one_pass in CANONICAL:
        one_pass(graph)
        assert not copies(graph), f"after {one_pass.__name__}"
    assert stored_floats(graph) <= 1.03 * sum(distinct.values())
    assert_layers_in_order(graph, 2)
    assert_agrees(capture, graph, run_graph, 3, 13)
