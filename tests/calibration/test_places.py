"""Where smoothing vectors can go, and that an exact place is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from bvx.calibration.places import Group, find_groups
from bvx.calibration.sites import find_linears

EXACT = [("albert", "text-classification"), ("bert", "feature-extraction"), ("electra", "text-classification")]


def load(bundle: Path) -> ir.Model:
    return ir.load(bundle / "onnx/model.onnx")


def groups_of(model: ir.Model) -> tuple[Group, ...]:
    return find_groups(model.graph, find_linears(model.graph))


def array(model: ir.Model, name: str) -> np.ndarray:
    return model.graph.initializers[name].const_value.numpy()


def store(model: ir.Model, name: str, values: np.ndarray) -> None:
    model.graph.initializers[name].const_value = ir.tensor(np.ascontiguousarray(values), name=name)


def run(model: ir.Model) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.arange(5, 29).reshape(3, 8)
    mask = np.ones_like(ids)
    mask[1, 5:] = 0
    feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return session.run(None, {item.name: feeds[item.name] for item in session.get_inputs()})


@pytest.mark.parametrize("cell", EXACT, ids="-".join)
def test_an_exact_place_takes_any_vector_and_the_graph_says_the_same(tiny_bundle, cell):
    model = load(tiny_bundle(*cell))
    before = run(model)
    random = np.random.default_rng(0)
    exact = [group for group in groups_of(model) if group.divided]
    assert exact
    for group in exact:
        vector = np.exp(random.normal(size=len(array(model, group.weights[0])))).astype(np.float32)
        for name in group.weights:
            store(model, name, array(model, name) * vector[:, None])
        for name in group.divided:
            store(model, name, array(model, name) / vector)
    for expected, found in zip(before, run(model), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_every_linear_layer_is_in_one_group_and_what_reads_one_tensor_is_together(tiny_bundle):
    model = load(tiny_bundle("bert", "feature-extraction"))
    linears = find_linears(model.graph)
    groups = groups_of(model)
    assert sorted(one.node for group in groups for one in group.linears) == sorted(one.node for one in linears)
    assert len({name for group in groups for name in group.inputs}) == sum(len(group.inputs) for group in groups)
    assert [len(group.linears) for group in groups if not group.divided].count(3) > 0


def test_all_uses_of_alberts_shared_weights_are_one_group(tiny_bundle):
    model = load(tiny_bundle("albert", "text-classification"))
    attention = next(group for group in groups_of(model) if any("Attention" in name for name in group.inputs))
    layers = sum(node.op_type == "Attention" for node in model.graph)
    assert layers > 1 and len(attention.linears) == len(attention.inputs) == layers and len(attention.weights) == 1
    assert len(attention.divided) == 2


@pytest.mark.parametrize("family", ["albert", "electra"])
def test_the_layer_normalisation_before_a_projection_takes_a_vector(tiny_bundle, family):
    divided = [group.divided for group in groups_of(load(tiny_bundle(family, "text-classification")))]
    assert any(all("LayerNorm" in name for name in names) and len(names) == 2 for names in divided if names)


def test_a_layer_normalisation_that_the_residual_reads_too_takes_none(tiny_bundle):
    for group in groups_of(load(tiny_bundle("bert", "feature-extraction"))):
        if any("LayerNorm" in name for name in group.inputs):
            assert not group.divided


def test_another_reader_of_a_value_or_a_weight_makes_a_place_inexact(tiny_bundle):
    model = load(tiny_bundle("bert", "feature-extraction"))
    (first, *others) = [group for group in groups_of(model) if group.divided]
    attention = next(node for node in model.graph if node.outputs[0].name == first.inputs[0])
    extra = ir.node("Identity", [attention.outputs[0]])
    model.graph.insert_after(attention, extra)
    assert [group.inputs for group in groups_of(model) if group.divided] == [group.inputs for group in others]
    model.graph.remove(extra, safe=True)
    weight = model.graph.initializers[first.divided[0]]
    model.graph.insert_after(attention, ir.node("Identity", [weight]))
    assert [group.inputs for group in groups_of(model) if group.divided] == [group.inputs for group in others]


def test_heads_that_share_v_make_a_place_inexact(tiny_bundle):
    model = load(tiny_bundle("bert", "feature-extraction"))
    for node in model.graph:
        if node.op_type == "Attention":
            node.attributes["kv_num_heads"] = ir.AttrInt64("kv_num_heads", 1)
    assert not any(group.divided for group in groups_of(model))
