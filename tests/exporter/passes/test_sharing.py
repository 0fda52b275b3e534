"""Two initializers with the same bytes become one."""

from __future__ import annotations

import numpy as np

from bvx.exporter.passes.sharing import share_weights

SIGNATURE = "(float[n, 3] x) => (float[n, 3] y)"
TWO_PRODUCTS = "a = MatMul(x, V) y = MatMul(a, W)"


def test_equal_matrices_are_stored_once(graph, check, numbers):
    weight = numbers(3, 3)
    model = graph(SIGNATURE, TWO_PRODUCTS, V=weight, W=weight.copy())
    assert check(share_weights, model, {"x": numbers(2, 3)}).applied == 1
    assert list(model.graph.initializers) == ["V"]


def test_three_copies_become_one(graph, check, numbers):
    weight = numbers(3, 3)
    model = graph(SIGNATURE, "a = MatMul(x, U) b = MatMul(a, V) y = MatMul(b, W)", U=weight, V=weight, W=weight)
    assert check(share_weights, model, {"x": numbers(2, 3)}).applied == 2


def test_equal_vectors_with_different_numbers_in_them_are_stored_once(graph, check, numbers):
    bias = numbers(3)
    model = graph(SIGNATURE, "a = Add(x, v) y = Add(a, w)", v=bias, w=bias)
    assert check(share_weights, model, {"x": numbers(2, 3)}).applied == 1


def test_biases_that_are_all_zero_keep_their_names(graph, check, numbers):
    model = graph(SIGNATURE, "a = Add(x, v) y = Add(a, w)", v=np.zeros(3, np.float32), w=np.zeros(3, np.float32))
    assert check(share_weights, model, {"x": numbers(2, 3)}).applied == 0
    assert list(model.graph.initializers) == ["v", "w"]


def test_the_same_bytes_in_another_shape_are_another_weight(graph, check, numbers):
    weight = numbers(2, 3)
    body = "a = MatMul(x, V) y = MatMul(a, W)"
    model = graph("(float[n, 2] x) => (float[n, 2] y)", body, V=weight, W=weight.reshape(3, 2))
    assert check(share_weights, model, {"x": numbers(2, 2)}).applied == 0


def test_the_same_bytes_of_another_type_are_another_weight(graph, check, numbers):
    zeros = np.zeros((2, 2), np.float32)
    body = "a = Gather(V, W) y = Identity(a)"
    model = graph("() => (float[2, 2, 2] y)", body, V=zeros, W=zeros.view(np.int32))
    assert check(share_weights, model, {}).applied == 0


def test_matrices_that_differ_in_one_number_are_two(graph, check, numbers):
    weight = numbers(3, 3)
    other = weight.copy()
    other[2, 2] = np.nextafter(other[2, 2], np.float32(9))
    model = graph(SIGNATURE, TWO_PRODUCTS, V=weight, W=other)
    assert check(share_weights, model, {"x": numbers(2, 3)}).applied == 0
