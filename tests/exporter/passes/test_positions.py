"""Positions: read as a slice where they only count up, counted in one integer type where padding is skipped."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.passes import run_passes
from bvx.exporter.passes.positions import count_positions, slice_positions

ROWS = 8
SIGNATURE = "(float[b, s, 4] x) => (float[b, s, 4] y)"
COUNTING = np.arange(ROWS)[None]
REFUSED_IDS = {"the ids that are sliced do not count the table's rows from 0": 1}
REFUSED_SLICE = {"the slice of the ids does not start at 0 and take each one": 1}
REFUSED_READER = {"something other than a sum of their shape reads the positions": 1}


def _body(start: int = 0, step: int = 1, end: str = "Identity(n)", rest: str = "y = Add(x, p)") -> str:
    constants = f"zero = Constant<value_ints = [{start}]>() one = Constant<value_ints = [1]>() "
    constants += f"step = Constant<value_ints = [{step}]>() "
    length = f"n = Shape<start = 1, end = 2>(x) end = {end} "
    return f"{constants}{length} ids = Slice(I, zero, end, one, step) p = Gather(P, ids) {rest}"


@pytest.fixture
def feeds(numbers):
    return {"x": numbers(2, 3, 4)}


@pytest.fixture
def sliced(graph, numbers):
    """A graph that looks sliced ids up, with the shapes that a capture proves."""

    def make(body: str, ids=COUNTING, rows: int = ROWS, signature: str = SIGNATURE, **weights) -> ir.Model:
        model = graph(signature, body, I=ids, P=numbers(rows, 4), **weights)
        for node in model.graph:
            if node.op_type == "Gather":
                node.outputs[0].shape = ir.Shape([1, "n", 4])
            if node.op_type == "Add" and node.outputs[0].is_graph_output():
                node.outputs[0].shape = ir.Shape(["b", "s", 4])
        return model

    return make


def test_counted_positions_become_the_tables_first_rows(sliced, check, operators, copies, feeds):
    model = sliced(_body())
    log = check(slice_positions, model, feeds)
    assert log.applied == 1 and log.refusals == {}
    assert "Gather" not in operators(model) and not copies(model)


def test_every_length_up_to_the_longest_reads_the_same_rows(sliced, run_graph, numbers):
    before = sliced(_body())
    after = before.clone()
    slice_positions(after)
    for length in range(1, ROWS + 1):
        feeds = {"x": numbers(1, length, 4)}
        np.testing.assert_array_equal(run_graph(after, feeds)["y"], run_graph(before, feeds)["y"])


def test_ids_from_an_offset_are_looked_up(sliced, check, feeds):
    # The slice is [2:5], as long as the text and not the table's first rows.
    model = sliced(_body(start=2, end="Add(n, zero)"))
    log = check(slice_positions, model, feeds)
    assert log.applied == 0 and log.refusals == REFUSED_SLICE


def test_every_other_id_is_looked_up(sliced, check, feeds):
    log = check(slice_positions, sliced(_body(step=2, end="Add(n, n)")), feeds)
    assert log.applied == 0 and log.refusals == REFUSED_SLICE


@pytest.mark.parametrize(
    ("ids", "rows"),
    [
        pytest.param(COUNTING + 2, ROWS + 2, id="from 2"),
        pytest.param(COUNTING[:, ::-1].copy(), ROWS, id="backwards"),
        pytest.param(COUNTING, ROWS + 2, id="fewer than the rows"),
    ],
)
def test_ids_that_do_not_count_the_rows_are_looked_up(sliced, check, feeds, ids, rows):
    log = check(slice_positions, sliced(_body(), ids=ids, rows=rows), feeds)
    assert log.applied == 0 and log.refusals == REFUSED_IDS


def test_positions_that_are_not_only_added_keep_their_shape(sliced, check, operators, feeds):
    model = sliced(_body(rest="q = Relu(p) y = Add(x, q)"))
    log = check(slice_positions, model, feeds)
    assert log.applied == 0 and log.refusals == REFUSED_READER


def test_a_refusal_leaves_no_reader_of_the_table_behind(sliced):
    model = sliced(_body(rest="q = Relu(p) y = Add(x, q)"))
    slice_positions(model)
    assert len(model.graph.initializers["P"].uses()) == 1


def test_positions_that_are_an_output_keep_their_shape(sliced, check, feeds):
    signature = "(float[b, s, 4] x) => (float[1, n, 4] p, float[b, s, 4] y)"
    log = check(slice_positions, sliced(_body(), signature=signature), feeds)
    assert log.applied == 0 and log.refusals == REFUSED_READER


def _count(zero: int = 0, attributes: str = "", kind: str = "bool") -> tuple[str, str]:
    body = "axis = Constant<value_int = 1>() m = Cast<to = 6>(seen) w = Cast<to = 7>(m) "
    body += f"c = CumSum{attributes}(w, axis) n = Cast<to = 6>(c) zero = Constant<value = int32 {{{zero}}}>() "
    body += "p = Add(n, zero) q = Mul(p, m) y = Cast<to = 7>(q)"
    return f"({kind}[b, s] seen) => (int64[b, s] y)", body


PADDED = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 0, 0, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0]])


def test_positions_are_counted_in_one_integer_type(graph, check, operators):
    model = graph(*_count())
    # Padding on the right, the left, in the middle, everywhere, and in between.
    log = check(count_positions, model, {"seen": PADDED.astype(bool)})
    assert log.applied == 1 and log.refusals == {}
    assert operators(model).count("Cast") == 1 and "Add" not in operators(model)


@pytest.mark.parametrize(
    ("zero", "attributes", "kind", "reason"),
    [
        (3, "", "bool", "tokens before the first are counted in"),
        (0, "<exclusive = 1>", "bool", "the count is exclusive or runs backwards"),
        (0, "<reverse = 1>", "bool", "the count is exclusive or runs backwards"),
        (0, "", "float", "what is counted is more than yes or no"),
    ],
)
def test_another_count_is_left_alone_and_says_why(graph, check, zero, attributes, kind, reason):
    seen = PADDED.astype(bool) if kind == "bool" else PADDED.astype(np.float32) * 1.5
    log = check(count_positions, graph(*_count(zero, attributes, kind)), {"seen": seen})
    assert log.applied == 0 and log.refusals == {reason: 1}


def test_berts_positions_are_sliced(before_pass, check, captured):
    model = before_pass(slice_positions, "bert", "feature-extraction")
    assert check(slice_positions, model, captured("bert", "feature-extraction").feeds(3, 5)).applied == 1


@pytest.mark.parametrize("padding", ["left", "right", "middle"])
def test_robertas_positions_skip_padding_wherever_it_is(before_pass, check, captured, padding):
    model = before_pass(count_positions, "roberta", "feature-extraction")
    assert check(count_positions, model, captured("roberta", "feature-extraction").feeds(3, 9, padding)).applied == 1


def test_positions_that_are_off_by_one_change_the_answer(captured, run_graph):
    capture = captured("roberta", "feature-extraction")
    model, feeds = capture.raw.clone(), capture.feeds(2, 9)
    run_passes(model)
    table = model.graph.initializers["embeddings.position_embeddings.weight"]
    right = run_graph(model, feeds)["last_hidden_state"]
    table.const_value = ir.Tensor(np.roll(table.const_value.numpy(), 1, axis=0), name=table.name)
    assert np.abs(run_graph(model, feeds)["last_hidden_state"] - right).max() > 1e-2
