"""The mask is expanded once and shared by all layers."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.exporter.passes.constants import fold_constants
from bvx.exporter.passes.mask import expand_mask_once

SIGNATURE = "(float[b, 2, s, 4] x, int64[b, s] attention_mask) => (float[b, 2, s, 4] y)"
ALLOWED = "m = Cast<to = 9>(attention_mask) "
KEYS = "a1 = Constant<value_ints = [1]>() u = Unsqueeze(m, a1) v = Unsqueeze(u, a1) "
WHOLE = (
    "b = Shape<start = 0, end = 1>(x) n = Shape<start = 2, end = 3>(x) o = Constant<value_ints = [1]>() "
    "shape = Concat<axis = 0>(b, o, n, n) e = Expand(v, shape) "
)
LAYERS = "h = Attention(x, x, x, e) y = Attention(h, h, h, e)"
REFUSED = {"the mask is more than a reshaped attention_mask": 1}


@pytest.fixture
def feeds(numbers):
    return {"x": numbers(3, 2, 5, 4), "attention_mask": np.array([[1, 1, 1, 0, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])}


def test_the_mask_is_one_expand_that_knows_only_the_length(graph, check, operators, feeds):
    model = graph(SIGNATURE, ALLOWED + KEYS + WHOLE + LAYERS)
    log = check(expand_mask_once, model, feeds)
    fold_constants(model)
    assert log.applied == 1 and log.refusals == {}
    assert operators(model).count("Expand") == 1 and operators(model).count("Unsqueeze") == 1
    (expand,) = (node for node in model.graph if node.op_type == "Expand")
    assert len(expand.outputs[0].uses()) == 2


def test_it_is_done_once_also_when_constants_were_folded_in_between(graph, operators, feeds):
    model = graph(SIGNATURE, ALLOWED + KEYS + WHOLE + LAYERS)
    expand_mask_once(model)
    fold_constants(model)
    assert expand_mask_once(model).applied == 0


def test_a_mask_of_queries_is_another_mask(graph, check, feeds):
    keys = "a1 = Constant<value_ints = [1]>() a3 = Constant<value_ints = [3]>() "
    model = graph(SIGNATURE, f"{ALLOWED}{keys} u = Unsqueeze(m, a1) v = Unsqueeze(u, a3) {WHOLE}{LAYERS}")
    log = check(expand_mask_once, model, feeds)
    assert log.applied == 0 and log.refusals == REFUSED


def test_axes_may_be_counted_from_the_end(graph, check, feeds):
    keys = "a1 = Constant<value_ints = [-2, 1]>() v = Unsqueeze(m, a1) "
    assert check(expand_mask_once, graph(SIGNATURE, ALLOWED + keys + WHOLE + LAYERS), feeds).applied == 1


@pytest.mark.parametrize(
    "allowed",
    [
        pytest.param("k = Cast<to = 9>(attention_mask) m = Not(k) ", id="turned around"),
        pytest.param("k = Constant<value_int = 2>() l = Equal(attention_mask, k) m = Cast<to = 9>(l) ", id="compared"),
    ],
)
def test_a_mask_that_is_computed_is_left_alone(graph, check, feeds, allowed):
    log = check(expand_mask_once, graph(SIGNATURE, allowed + KEYS + WHOLE + LAYERS), feeds)
    assert log.applied == 0 and log.refusals == REFUSED


def test_a_mask_that_is_added_is_left_alone(graph, check, feeds):
    allowed = "m = Cast<to = 1>(attention_mask) "
    log = check(expand_mask_once, graph(SIGNATURE, allowed + KEYS + WHOLE + LAYERS), feeds)
    assert log.applied == 0 and log.refusals == REFUSED


def test_layers_with_masks_of_their_own_are_left_alone(graph, check, feeds):
    layers = "n2 = Not(e) h = Attention(x, x, x, e) y = Attention(h, h, h, n2)"
    log = check(expand_mask_once, graph(SIGNATURE, ALLOWED + KEYS + WHOLE + layers), feeds)
    assert log.applied == 0 and log.refusals == {"the layers read several masks": 2}


def test_layers_without_a_mask_say_so(graph, check, numbers):
    model = graph("(float[b, 2, s, 4] x) => (float[b, 2, s, 4] y)", "y = Attention(x, x, x)")
    log = check(expand_mask_once, model, {"x": numbers(1, 2, 3, 4)})
    assert log.applied == 0 and log.refusals == {"no layer reads a mask": 1}


@pytest.mark.parametrize("family", ["albert", "roberta"])
def test_a_familys_mask_is_expanded_once(before_pass, check, captured, family):
    model = before_pass(expand_mask_once, family, "feature-extraction")
    assert check(expand_mask_once, model, captured(family, "feature-extraction").feeds(3, 5)).applied == 1
