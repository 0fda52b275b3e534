"""Whatever is known before the first text arrives is computed now."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.exporter.passes.constants import constant, fold_constants

SIGNATURE = "(float[n, 4] x) => (float[n, 4] y)"


def test_arithmetic_on_constants_becomes_its_result(graph, check, operators, numbers):
    body = "a = Constant<value_ints = [1]>() b = Constant<value_ints = [3]>() c = Add(a, b) "
    body += "d = Constant<value_ints = [0]>() s = Concat<axis = 0>(d, c) y = Reshape(x, s)"
    model = graph(SIGNATURE, body)
    assert check(fold_constants, model, {"x": numbers(2, 4)}).applied > 0
    assert operators(model) == ["Reshape"]
    (shape,) = model.graph.initializers.values()
    assert constant(shape) == [0, 4]


def test_equal_nodes_become_one(graph, check, operators, numbers):
    model = graph(SIGNATURE, "a = Relu(x) b = Relu(x) y = Add(a, b)")
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Relu", "Add"]


def test_nodes_that_nobody_reads_go(graph, check, operators, numbers):
    model = graph(SIGNATURE, "a = Relu(x) y = Tanh(x)")
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Tanh"]


@pytest.mark.parametrize("operation", ["Relu(W)", "Transpose<perm = [1, 0]>(W)"])
@pytest.mark.parametrize("width", [2, 20, 40])
def test_weights_of_any_size_are_never_folded(graph, check, operators, numbers, width, operation):
    signature = f"(float[n, {width}] x) => (float[n, {width}] y)"
    model = graph(signature, f"a = MatMul(x, W) v = {operation} y = MatMul(a, v)", W=numbers(width, width))
    assert check(fold_constants, model, {"x": numbers(2, width)}).applied == 0
    assert list(model.graph.initializers) == ["W"]


def _slice(start: int, end: int, step: int) -> str:
    names = {"s": start, "e": end, "a": 1, "t": step}
    numbers = " ".join(f"{name} = Constant<value_ints = [{number}]>()" for name, number in names.items())
    return f"{numbers} p = Slice(x, s, e, a, t) y = Relu(p)"


def test_a_slice_of_everything_goes(graph, check, operators, numbers):
    model = graph(SIGNATURE, _slice(0, 2**63 - 1, 1))
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Relu"]


@pytest.mark.parametrize(("start", "end", "step"), [(1, 2**63 - 1, 1), (0, 3, 1), (0, 2**63 - 1, 2)])
def test_a_slice_of_something_stays(graph, check, operators, numbers, start, end, step):
    model = graph("(float[n, 4] x) => (float[n, m] y)", _slice(start, end, step))
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Slice", "Relu"]


def test_an_identity_goes_and_the_output_keeps_its_name(graph, check, operators, numbers):
    model = graph(SIGNATURE, "a = Relu(x) b = Identity(a) y = Identity(b)")
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Relu"]


@pytest.mark.parametrize("body", ["y = Relu(x) z = Identity(y)", "y = Relu(x) a = Identity(y) z = Identity(a)"])
def test_two_outputs_with_one_value_stay_two(graph, check, operators, numbers, body):
    model = graph("(float[n, 4] x) => (float[n, 4] y, float[n, 4] z)", body)
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Relu", "Identity"]


def test_an_input_that_is_an_output_too_keeps_its_identity(graph, check, operators, numbers):
    model = graph(SIGNATURE, "y = Identity(x)")
    check(fold_constants, model, {"x": numbers(2, 4)})
    assert operators(model) == ["Identity"]


def test_only_small_constants_are_read(graph, numbers):
    model = graph(SIGNATURE, "a = Add(x, W) y = Add(a, v)", W=numbers(600, 4), v=np.array([1, 2, 3, 4], np.float32))
    values = model.graph.initializers
    assert constant(values["v"]) == [1, 2, 3, 4]
    assert constant(values["W"]) is None and constant(model.graph.inputs[0]) is None and constant(None) is None


def test_a_captured_model_loses_its_shape_arithmetic(before_pass, check, captured, operators):
    model = before_pass(fold_constants, "bert", "feature-extraction")
    assert check(fold_constants, model, captured("bert", "feature-extraction").feeds(2, 5)).applied > 50
    assert not {"Constant", "Identity"} & set(operators(model))
