"""The attention operator splits and merges the heads itself."""

from __future__ import annotations

import pytest

from bvx.exporter.passes.heads import split_heads_inside

SIGNATURE = "(float[b, s, 12] x) => (float[b, s, 12] y)"
SHAPES = "four = Constant<value_ints = [0, 0, 3, 4]>() three = Constant<value_ints = [0, 0, 12]>() "
SPLIT = (
    "q0 = Reshape(x, four) q = Transpose<perm = [0, 2, 1, 3]>(q0) w = Relu(x) k0 = Reshape(w, four) "
    "k = Transpose<perm = [0, 2, 1, 3]>(k0) z = Tanh(x) v0 = Reshape(z, four) v = Transpose<perm = [0, 2, 1, 3]>(v0) "
)
MERGE = "o = Transpose<perm = [0, 2, 1, 3]>(a) y = Reshape(o, three)"
REFUSED = {"the heads are not split and merged right around it": 1}


def _body(attributes: str = "", split: str = SPLIT, merge: str = MERGE) -> str:
    return f"{SHAPES}{split} a = Attention{attributes}(q, k, v) {merge}"


def test_reshapes_and_transposes_around_attention_go(graph, check, numbers):
    model = graph(SIGNATURE, _body())
    log = check(split_heads_inside, model, {"x": numbers(2, 5, 12)})
    assert log.applied == 1 and log.refusals == {}
    (attention,) = (node for node in model.graph if node.op_type == "Attention")
    assert attention.attributes["q_num_heads"].as_int() == attention.attributes["kv_num_heads"].as_int() == 3
    assert attention.inputs[0] is model.graph.inputs[0] and attention.outputs[0] is model.graph.outputs[0]


@pytest.mark.parametrize("attributes", ["<scale = 0.1>", "<is_causal = 1>", "<softcap = 2.0>"])
def test_what_else_attention_was_told_stays(graph, check, numbers, attributes):
    assert check(split_heads_inside, graph(SIGNATURE, _body(attributes)), {"x": numbers(2, 5, 12)}).applied == 1


@pytest.mark.parametrize(
    ("split", "merge"),
    [
        pytest.param(
            SPLIT.replace("(v0)", "(v1)").replace("z, four)", "z, four) v1 = Relu(v0)"), MERGE, id="not split"
        ),
        pytest.param(SPLIT, f"{MERGE.replace('y', 'm')} r = ReduceMax<keepdims = 0>(a) y = Add(m, r)", id="read twice"),
        pytest.param(SPLIT, MERGE.replace("y = Reshape(o", "p = Relu(o) y = Reshape(p"), id="not merged"),
    ],
)
def test_heads_that_are_split_otherwise_are_left_alone(graph, check, numbers, split, merge):
    log = check(split_heads_inside, graph(SIGNATURE, _body(split=split, merge=merge)), {"x": numbers(2, 5, 12)})
    assert log.applied == 0 and log.refusals == REFUSED


def test_heads_merged_into_another_shape_are_left_alone(graph, check, numbers):
    merge = "o = Transpose<perm = [0, 2, 1, 3]>(a) three2 = Constant<value_ints = [0, -1, 6]>() y = Reshape(o, three2)"
    model = graph("(float[b, s, 12] x) => (float[b, t, 6] y)", _body(merge=merge))
    log = check(split_heads_inside, model, {"x": numbers(2, 5, 12)})
    assert log.applied == 0 and log.refusals == REFUSED


def test_a_cache_of_keys_and_values_is_left_alone(graph, check, numbers):
    signature = "(float[b, s, 12] x, float[b, 3, p, 4] pk, float[b, 3, p, 4] pv) => (float[b, s, 12] y)"
    body = _body().replace("a = Attention(q, k, v)", "a, nk, nv = Attention(q, k, v, , pk, pv)")
    feeds = {"x": numbers(2, 5, 12), "pk": numbers(2, 3, 2, 4), "pv": numbers(2, 3, 2, 4)}
    log = check(split_heads_inside, graph(signature, body), feeds)
    assert log.applied == 0 and log.refusals == {"it keeps keys and values for later": 1}


@pytest.mark.parametrize("family", ["albert", "roberta"])
def test_every_layer_of_a_family_splits_its_heads_inside(before_pass, check, captured, family):
    model = before_pass(split_heads_inside, family, "feature-extraction")
    capture = captured(family, "feature-extraction")
    log = check(split_heads_inside, model, capture.feeds(3, 5))
    assert log.applied == capture.family.layers(capture.config) and log.refusals == {}
