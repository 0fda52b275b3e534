"""A linear layer's weight is stored as the product reads it."""

from __future__ import annotations

import numpy as np

from bvx.exporter.passes.linears import transpose_weights

SIGNATURE = "(float[n, 4] x) => (float[n, 3] y)"
LINEAR = "t = Transpose<perm = [1, 0]>(W) y = MatMul(x, t)"


def test_the_transpose_moves_into_the_stored_weight(graph, check, operators, numbers):
    weight = numbers(3, 4)
    model = graph(SIGNATURE, LINEAR, W=weight)
    assert check(transpose_weights, model, {"x": numbers(2, 4)}).applied == 1
    assert operators(model) == ["MatMul"]
    (stored,) = model.graph.initializers.values()
    assert stored.name == "W" and list(stored.shape) == [4, 3]
    np.testing.assert_array_equal(stored.const_value.numpy(), weight.T)


def test_a_weight_that_is_used_many_times_is_stored_once(graph, check, copies, numbers):
    body = "t = Transpose<perm = [1, 0]>(W) a = MatMul(x, t) u = Transpose<perm = [1, 0]>(W) y = MatMul(a, u)"
    model = graph("(float[n, 4] x) => (float[n, 4] y)", body, W=numbers(4, 4))
    assert check(transpose_weights, model, {"x": numbers(2, 4)}).applied == 2
    assert list(model.graph.initializers) == ["W"] and not copies(model)


def test_a_weight_that_is_also_read_as_it_is_keeps_its_form_and_says_so(graph, check, operators, numbers):
    body = "t = Transpose<perm = [1, 0]>(W) a = MatMul(x, t) y = MatMul(a, W)"
    model = graph("(float[n, 4] x) => (float[n, 4] y)", body, W=numbers(3, 4))
    log = check(transpose_weights, model, {"x": numbers(2, 4)})
    assert log.applied == 0
    assert log.refusals == {"W is read both as it is and transposed": 1}
    assert "Transpose" in operators(model)


def test_other_permutations_are_not_a_linear_layers(graph, check, numbers):
    body = "t = Transpose<perm = [0, 2, 1]>(W) y = MatMul(x, t)"
    model = graph("(float[2, n, 4] x) => (float[2, n, 3] y)", body, W=numbers(2, 3, 4))
    log = check(transpose_weights, model, {"x": numbers(2, 5, 4)})
    assert log.applied == 0 and log.refusals == {}


def test_a_computed_matrix_is_not_a_weight(graph, check, numbers):
    body = "t = Transpose<perm = [1, 0]>(x) y = MatMul(x, t)"
    assert (
        check(transpose_weights, graph("(float[n, 4] x) => (float[n, n] y)", body), {"x": numbers(2, 4)}).applied == 0
    )


def test_weights_are_transposed_only_when_they_are_read(graph, numbers):
    model = graph(SIGNATURE, LINEAR, W=numbers(3, 4))
    transpose_weights(model)
    (stored,) = model.graph.initializers.values()
    assert stored.const_value.numpy() is not stored.const_value.numpy(), "it keeps what it computed"


def test_alberts_one_layer_stays_one_set_of_weights(before_pass, check, captured, copies):
    model = before_pass(transpose_weights, "albert", "fill-mask")
    names = set(model.graph.initializers)
    log = check(transpose_weights, model, captured("albert", "fill-mask").feeds(2, 5))
    assert log.applied == 6 * 2 + 2 and log.refusals == {}
    assert set(model.graph.initializers) == names and not copies(model)
