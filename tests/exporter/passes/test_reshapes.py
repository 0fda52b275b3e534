"""Heads are split and merged without asking for the shape."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from bvx.exporter.passes.constants import constant, fold_constants
from bvx.exporter.passes.reshapes import fix_reshapes

SIGNATURE = "(float[b, s, 12] x) => (float[b, s, 3, 4] y)"
SHAPE = (
    "b = Shape<start = 0, end = 1>(x) s = Shape<start = 1, end = 2>(x) t = Constant<value_ints = [3, 4]>() "
    "shape = Concat<axis = 0>(b, s, t) "
)
REFUSED = {"the leading dimensions are not the input's": 1}


def test_the_leading_dimensions_are_copied(graph, check, operators, numbers):
    model = graph(SIGNATURE, f"{SHAPE} y = Reshape(x, shape)")
    assert check(fix_reshapes, model, {"x": numbers(2, 5, 12)}).applied == 1
    fold_constants(model)
    assert operators(model) == ["Reshape"]
    assert constant(next(iter(model.graph)).inputs[1]) == [0, 0, 3, 4]


def test_dimensions_that_come_from_elsewhere_are_asked_for(graph, check, numbers):
    signature = "(float[n, 12] x, float[b, s] z) => (float[b, s, 3, 4] y)"
    body = f"{SHAPE} y = Reshape(x, shape)".replace("(x) s", "(z) s").replace("(x) t", "(z) t")
    log = check(fix_reshapes, graph(signature, body), {"x": numbers(10, 12), "z": numbers(2, 5)})
    assert log.applied == 0 and log.refusals == REFUSED


def test_swapped_dimensions_are_asked_for(graph, check, numbers):
    body = f"{SHAPE} y = Reshape(x, shape)".replace("Concat<axis = 0>(b, s, t)", "Concat<axis = 0>(s, b, t)")
    model = graph("(float[b, s, 12] x) => (float[s, b, 3, 4] y)", body)
    log = check(fix_reshapes, model, {"x": numbers(2, 5, 12)})
    assert log.applied == 0 and log.refusals == REFUSED


def test_dimensions_without_a_name_are_not_taken_for_equal(graph, check, numbers):
    model = graph(SIGNATURE, f"{SHAPE} z = Relu(x) y0 = Reshape(z, shape) y = Relu(y0)")
    for node in model.graph:
        if node.op_type in ("Relu", "Reshape") and not node.outputs[0].is_graph_output():
            node.outputs[0].shape = ir.Shape([None, None, *list(node.outputs[0].shape)[2:]])
    log = check(fix_reshapes, model, {"x": numbers(2, 5, 12)})
    assert log.applied == 0 and log.refusals == REFUSED


def test_a_constant_shape_is_left_alone(graph, check, numbers):
    model = graph("(float[b, s, 12] x) => (float[n, 12] y)", "t = Constant<value_ints = [-1, 12]>() y = Reshape(x, t)")
    log = check(fix_reshapes, model, {"x": numbers(2, 5, 12)})
    assert log.applied == 0 and log.refusals == {}


def test_a_length_is_not_taken_apart_and_put_together_again(graph, check, operators, numbers):
    body = "b = Shape<start = 0, end = 1>(x) k = Squeeze(b) o = Constant<value_ints = [1]>() v = Reshape(k, o) "
    body += "t = Constant<value_ints = [7]>() shape = Concat<axis = 0>(v, t) y = Expand(x, shape)"
    model = graph("(float[b, 1] x) => (float[b, 7] y)", body)
    assert check(fix_reshapes, model, {"x": numbers(3, 1)}).applied == 1
    assert "Reshape" not in operators(model)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_every_split_and_merge_of_a_family_is_fixed(before_pass, check, captured, operators, family):
    model = before_pass(fix_reshapes, family, "feature-extraction")
    log = check(fix_reshapes, model, captured(family, "feature-extraction").feeds(3, 5))
    assert log.applied >= 4 * 2 and log.refusals == {}
    assert all(constant(node.inputs[1]) for node in model.graph if node.op_type == "Reshape")
