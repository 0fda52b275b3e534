"""Families without token types have a one-row table of them: the row is added, not looked up."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.exporter.passes.token_types import drop_token_types

SIGNATURE = "(float[b, s, 4] x, int64[b, s] ids) => (float[b, s, 4] y)"
REFUSED = {"something other than a sum of its shape reads the looked-up row": 1}


@pytest.fixture
def feeds(numbers):
    return {"x": numbers(2, 3, 4), "ids": np.zeros((2, 3), np.int64)}


def test_the_one_row_is_added_to_every_token(graph, check, operators, numbers, feeds):
    model = graph(SIGNATURE, "t = Gather(T, ids) y = Add(x, t)", T=numbers(1, 4))
    assert check(drop_token_types, model, feeds).applied == 1
    assert operators(model) == ["Add"]
    assert {name: list(value.shape) for name, value in model.graph.initializers.items()} == {"T": [4]}


def test_a_table_of_two_rows_is_looked_up(graph, check, operators, numbers, feeds):
    model = graph(SIGNATURE, "t = Gather(T, ids) y = Add(x, t)", T=numbers(2, 4))
    assert check(drop_token_types, model, feeds).applied == 0
    assert operators(model) == ["Gather", "Add"]


@pytest.mark.parametrize(
    "rest",
    [
        pytest.param("p = ReduceMax<keepdims = 0>(t) y = Add(x, p)", id="another operator"),
        pytest.param("y = Add(t, t)", id="a sum with itself"),
        pytest.param("p = Add(t, v) y = Add(x, p)", id="a sum that it gives the shape"),
    ],
)
def test_where_the_row_decides_a_shape_it_is_looked_up(graph, check, numbers, feeds, rest):
    weights = {"v": numbers(4)} if "v)" in rest else {}
    log = check(drop_token_types, graph(SIGNATURE, f"t = Gather(T, ids) {rest}", T=numbers(1, 4), **weights), feeds)
    assert log.applied == 0 and log.refusals == REFUSED


def test_a_lookup_that_is_an_output_stays(graph, check, numbers, feeds):
    signature = "(float[b, s, 4] x, int64[b, s] ids) => (float[b, s, 4] t, float[b, s, 4] y)"
    log = check(drop_token_types, graph(signature, "t = Gather(T, ids) y = Add(x, t)", T=numbers(1, 4)), feeds)
    assert log.applied == 0 and log.refusals == REFUSED


def test_a_gather_of_columns_is_no_lookup(graph, check, numbers):
    signature = "(float[1, s, t] x, int64[s, t] ids) => (float[1, s, t] y)"
    feeds = {"x": numbers(1, 2, 3), "ids": np.array([[0, 3, 1], [2, 2, 0]])}
    log = check(
        drop_token_types, graph(signature, "t = Gather<axis = 1>(T, ids) y = Add(x, t)", T=numbers(1, 4)), feeds
    )
    assert log.applied == 0 and log.refusals == REFUSED


def test_robertas_token_types_go(before_pass, check, captured):
    model = before_pass(drop_token_types, "roberta", "feature-extraction")
    assert check(drop_token_types, model, captured("roberta", "feature-extraction").feeds(3, 5)).applied == 1


def test_berts_token_types_stay(before_pass, check, captured):
    model = before_pass(drop_token_types, "bert", "feature-extraction")
    assert check(drop_token_types, model, captured("bert", "feature-extraction").feeds(3, 5)).applied == 0
