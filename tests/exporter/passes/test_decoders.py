"""A decoder tied to the embedding keeps the one table."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.exporter.passes.decoders import keep_tied_tables
from bvx.exporter.passes.linears import transpose_weights

SIGNATURE = "(int64[b, s] ids) => (float[b, s, 7] y)"
TIED = "x = Gather(T, ids) t = Transpose<perm = [1, 0]>(T) p = MatMul(x, t)"
IDS = {"ids": np.array([[1, 2, 6], [0, 5, 3]])}


def test_a_tied_decoder_reads_the_table_as_it_lies(graph, check, operators, copies, numbers):
    model = graph(SIGNATURE, f"{TIED} y = Add(p, b)", T=numbers(7, 4), b=numbers(7))
    assert check(keep_tied_tables, model, IDS).applied == 1
    assert "Transpose" not in operators(model) and "Gemm" in operators(model)
    assert {name for name in model.graph.initializers if name in "Tb"} == {"T", "b"}
    assert not copies(model)


def test_it_does_not_matter_on_which_side_the_bias_stands(graph, check, numbers):
    model = graph(SIGNATURE, f"{TIED} y = Add(b, p)", T=numbers(7, 4), b=numbers(7))
    assert check(keep_tied_tables, model, IDS).applied == 1


def test_nothing_is_left_that_the_next_pass_would_refuse(graph, numbers):
    model = graph(SIGNATURE, f"{TIED} y = Add(p, b)", T=numbers(7, 4), b=numbers(7))
    keep_tied_tables(model)
    assert transpose_weights(model).refusals == {}


def test_a_linear_layer_of_its_own_is_left_to_the_next_pass(graph, check, numbers):
    body = "t = Transpose<perm = [1, 0]>(W) p = MatMul(x, t) y = Add(p, b)"
    model = graph("(float[b, s, 4] x) => (float[b, s, 7] y)", body, W=numbers(7, 4), b=numbers(7))
    log = check(keep_tied_tables, model, {"x": numbers(2, 3, 4)})
    assert log.applied == 0 and log.refusals == {}


@pytest.mark.parametrize(
    ("rest", "bias"),
    [
        pytest.param("y = Identity(p)", None, id="without a bias"),
        pytest.param("y = Add(p, p)", None, id="added to itself"),
        pytest.param("y = Add(p, b)", (3, 7), id="with a bias per position"),
        pytest.param("y = Add(p, b)", (1, 1, 7), id="with a bias of three dimensions"),
        pytest.param("c = Relu(p) d = Add(p, b) y = Add(c, d)", (7,), id="read by another as well"),
    ],
)
def test_a_product_without_one_bias_per_entry_is_refused(graph, check, numbers, rest, bias):
    weights = {} if bias is None else {"b": numbers(*bias)}
    log = check(keep_tied_tables, graph(SIGNATURE, f"{TIED} {rest}", T=numbers(7, 4), **weights), IDS)
    assert log.applied == 0
    assert log.refusals == {"the product has no bias added right after it": 1}


def test_a_product_that_is_an_output_itself_is_refused(graph, check, numbers):
    signature = "(int64[b, s] ids) => (float[b, s, 7] p, float[b, s, 7] y)"
    log = check(keep_tied_tables, graph(signature, f"{TIED} y = Add(p, b)", T=numbers(7, 4), b=numbers(7)), IDS)
    assert log.applied == 0 and log.refusals


@pytest.mark.parametrize("family", ["albert", "bert", "electra", "roberta", "spanbert"])
def test_the_decoder_of_every_family_keeps_its_table(before_pass, check, captured, family):
    model = before_pass(keep_tied_tables, family, "fill-mask")
    assert check(keep_tied_tables, model, captured(family, "fill-mask").feeds(2, 5)).applied == 1
