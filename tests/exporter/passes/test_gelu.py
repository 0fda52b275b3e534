"""The tanh approximation of GELU is one operator."""

from __future__ import annotations

import math

import pytest

from bvx.exporter.passes.gelu import fuse_tanh_gelu

SIGNATURE = "(float[n, 4] x) => (float[n, 4] y)"
SLOPE = math.sqrt(2 / math.pi)


def _spelt(half=0.5, three=3.0, cubic=0.044715, slope=SLOPE, one=1.0, end="y = Mul(i, j)") -> str:
    named = {"half": half, "three": three, "cubic": cubic, "slope": slope, "one": one}
    constants = " ".join(f"{name} = Constant<value_float = {number:.9f}>()" for name, number in named.items())
    body = "c = Pow(x, three) d = Mul(c, cubic) e = Add(x, d) f = Mul(e, slope) g = Tanh(f) "
    return f"{constants} {body} j = Add(g, one) i = Mul(x, half) {end}"


def test_gelu_spelt_out_becomes_one_operator(graph, check, operators, numbers):
    model = graph(SIGNATURE, _spelt())
    log = check(fuse_tanh_gelu, model, {"x": 3 * numbers(50, 4)})
    assert log.applied == 1 and log.refusals == {}
    (gelu,) = (node for node in model.graph if node.op_type == "Gelu")
    assert gelu.attributes["approximate"].as_string() == "tanh"
    assert not {"Tanh", "Pow", "Mul", "Add"} & set(operators(model))


def test_the_order_of_factors_and_terms_does_not_matter(graph, check, numbers):
    body = _spelt(end="y = Mul(j, i)").replace("Mul(x, half)", "Mul(half, x)").replace("Add(x, d)", "Add(d, x)")
    assert check(fuse_tanh_gelu, graph(SIGNATURE, body), {"x": numbers(2, 4)}).applied == 1


def test_constants_may_be_rounded_to_the_digits_of_the_paper(graph, check, numbers):
    assert check(fuse_tanh_gelu, graph(SIGNATURE, _spelt(slope=0.7978845608)), {"x": numbers(2, 4)}).applied == 1


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        ({"half": 0.4}, "0.5"),
        ({"three": 2.0}, "3"),
        ({"cubic": 0.0447}, "0.044715"),
        ({"slope": 0.8}, "0.797885"),
        ({"one": 1.1}, "1"),
    ],
)
def test_other_constants_are_another_function(graph, check, operators, numbers, other, wanted):
    model = graph(SIGNATURE, _spelt(**other))
    log = check(fuse_tanh_gelu, model, {"x": numbers(2, 4)})
    assert log.applied == 0 and "Gelu" not in operators(model)
    assert log.refusals == {f"where GELU has {wanted}, the graph has something else": 1}


def test_a_cube_of_something_else_is_another_function(graph, check, numbers):
    body = _spelt().replace("Pow(x, three)", "Pow(z, three)")
    model = graph("(float[n, 4] x, float[n, 4] z) => (float[n, 4] y)", body)
    assert check(fuse_tanh_gelu, model, {"x": numbers(2, 4), "z": numbers(2, 4)}).applied == 0


def test_gelu_by_erf_is_left_alone(graph, check, operators, numbers):
    body = "r = Constant<value_float = 1.41421356>() h = Constant<value_float = 0.5>() "
    body += "o = Constant<value_float = 1.0>() a = Div(x, r) b = Erf(a) c = Add(b, o) d = Mul(x, h) y = Mul(d, c)"
    model = graph(SIGNATURE, body)
    assert check(fuse_tanh_gelu, model, {"x": numbers(2, 4)}).applied == 0
    assert "Erf" in operators(model)


def test_quick_gelu_is_left_alone(graph, check, numbers):
    body = "k = Constant<value_float = 1.702>() a = Mul(x, k) b = Sigmoid(a) y = Mul(x, b)"
    assert check(fuse_tanh_gelu, graph(SIGNATURE, body), {"x": numbers(2, 4)}).applied == 0


def test_a_value_on_the_way_that_is_asked_for_keeps_the_whole(graph, check, numbers):
    signature = "(float[n, 4] x) => (float[n, 4] y, float[n, 4] g)"
    assert check(fuse_tanh_gelu, graph(signature, _spelt()), {"x": numbers(2, 4)}).applied == 0


@pytest.mark.parametrize(("family", "layers"), [("albert", 2), ("bert", 0)])
def test_only_tanh_gelus_of_a_family_are_fused(before_pass, check, captured, family, layers):
    model = before_pass(fuse_tanh_gelu, family, "feature-extraction")
    assert check(fuse_tanh_gelu, model, captured(family, "feature-extraction").feeds(2, 5)).applied == layers
