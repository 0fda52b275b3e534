"""The axis of choices, which a model that chooses between texts adds and takes away again, is gone."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from bvx.exporter.passes import CANONICAL, run_passes
from bvx.exporter.passes.choices import drop_choices
from bvx.exporter.passes.constants import fold_constants

SIGNATURE = "(float[b, s] x) => (float[b, s] y)"
WIDEN = "axis = Constant<value_ints = [1]>() wide = Unsqueeze(x, axis) "
FLATTEN = (
    "minus = Constant<value_ints = [-1]>() length = Shape<start = 1, end = 2>(x) "
    "shape = Concat<axis = 0>(minus, length) "
)
REFUSED = {"the result is not known to have the shape that it had before the Unsqueeze": 1}


@pytest.fixture
def feeds(numbers):
    return {"x": numbers(3, 5)}


def sizes(model: ir.Model, **dims: list[str | int | None]) -> ir.Model:
    """Says of values what the capture proves and ONNX's own inference does not."""
    for node in model.graph:
        for value in node.outputs:
            if value.name in dims:
                value.shape = ir.Shape(dims[value.name])
    return model


def test_choices_are_not_put_on_an_axis_of_their_own(graph, check, operators, feeds):
    model = sizes(graph(SIGNATURE, f"{WIDEN}{FLATTEN} z = Reshape(wide, shape) y = Relu(z)"), z=["b", "s"])
    assert check(drop_choices, model, feeds).applied == 1
    fold_constants(model)
    assert operators(model) == ["Relu"]
    assert next(iter(model.graph)).inputs[0] is model.graph.inputs[0]


def test_logits_of_one_choice_are_the_output(graph, check, operators, feeds):
    body = "z = Relu(x) minus = Constant<value_ints = [-1, 5]>() y = Reshape(z, minus)"
    model = sizes(graph("(float[b, 5] x) => (float[b, 5] y)", body), y=["b", 5])
    assert check(drop_choices, model, feeds).applied == 1
    fold_constants(model)
    assert operators(model) == ["Relu"]
    assert [(value.name, list(map(str, value.shape))) for value in model.graph.outputs] == [("y", ["b", "5"])]


def test_an_axis_in_another_place_goes_as_well(graph, check, feeds):
    body = f"{WIDEN}{FLATTEN} z = Reshape(wide, shape) y = Relu(z)".replace("[1]", "[2]")
    assert check(drop_choices, sizes(graph(SIGNATURE, body), z=["b", "s"]), feeds).applied == 1


@pytest.mark.parametrize(
    "dims",
    [
        pytest.param(["s", "b"], id="swapped"),
        pytest.param([None, "s"], id="without a name"),
        pytest.param(["b", "t"], id="another name"),
    ],
)
def test_a_result_of_another_shape_stays(graph, check, feeds, dims):
    model = sizes(graph(SIGNATURE, f"{WIDEN}{FLATTEN} z = Reshape(wide, shape) y = Relu(z)"), z=dims)
    log = check(drop_choices, model, feeds)
    assert log.applied == 0 and log.refusals == REFUSED


def test_rows_that_are_really_cut_anew_stay(graph, check, numbers):
    body = f"{WIDEN} shape = Constant<value_ints = [-1, 2]>() y = Reshape(wide, shape)"
    log = check(drop_choices, graph("(float[b, 4] x) => (float[n, 2] y)", body), {"x": numbers(3, 4)})
    assert log.applied == 0 and log.refusals == REFUSED


def test_what_moves_elements_stays(graph, check, numbers):
    """A table is not its transpose, though both have one shape: only the Reshape goes."""
    body = "flip = Transpose<perm = [1, 0]>(x) shape = Constant<value_ints = [4, 4]>() y = Reshape(flip, shape)"
    model = graph("(float[4, 4] x) => (float[4, 4] y)", body)
    assert check(drop_choices, model, {"x": numbers(4, 4)}).applied == 1
    fold_constants(model)
    assert [node.op_type for node in model.graph] == ["Transpose"]


@pytest.mark.parametrize("family", ["albert", "bert", "electra", "roberta", "spanbert"])
def test_every_axis_of_choices_of_a_family_goes(before_pass, check, captured, family):
    capture = captured(family, "multiple-choice")
    log = check(drop_choices, before_pass(drop_choices, family, "multiple-choice"), capture.feeds(3, 5))
    own = capture.family.layers(capture.config)  # PyTorch reshapes an attention's result to the shape that it has
    assert log.applied == len(capture.family.inputs) + 1 + own and log.refusals == {}


@pytest.mark.parametrize("task", ["text-classification", "fill-mask", "question-answering"])
def test_the_graphs_of_other_tasks_are_what_they_are_without_it(captured, operators, task):
    with_it, without = captured("bert", task).canonical()[0], captured("bert", task).raw.clone()
    run_passes(without, [one for one in CANONICAL if one is not drop_choices])
    assert operators(with_it) == operators(without)
