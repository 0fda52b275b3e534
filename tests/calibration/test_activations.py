"""What is kept of activations is what NumPy finds in all of them, and does not grow with the texts."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.calibration.activations import collect_inputs, pool, stream_tensors
from bvx.runtime.errors import CalibrationError


@pytest.fixture
def model() -> ir.Model:
    """x = table[input_ids], y = x @ weight."""
    random = np.random.default_rng(0)
    ids = ir.Value(name="input_ids", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["batch", "length"]))
    mask = ir.Value(name="attention_mask", type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape(["batch", "length"]))
    arrays = {"table": random.normal(3, 1, (50, 6)), "weight": random.normal(size=(6, 4))}
    stored = {name: ir.Value(name=name) for name in arrays}
    for name, value in stored.items():
        value.const_value = ir.tensor(arrays[name].astype(np.float32), name=name)
        value.type, value.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(arrays[name].shape)
    gather = ir.node("Gather", [stored["table"], ids], name="gather")
    product = ir.node("MatMul", [gather.outputs[0], stored["weight"]], name="product")
    for name, node in (("x", gather), ("y", product)):
        node.outputs[0].name, node.outputs[0].type = name, ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [ids, mask], product.outputs, nodes=[gather, product], initializers=stored.values(), opset_imports={"": 23}
    )
    return ir.Model(graph, ir_version=10)


def batches(count: int = 3) -> list[dict[str, np.ndarray]]:
    """Every second text has two tokens of padding."""
    random = np.random.default_rng(1)
    mask = np.ones((4, 5), np.int64)
    mask[::2, 3:] = 0
    return [{"input_ids": random.integers(0, 50, (4, 5)), "attention_mask": mask} for _ in range(count)]


def rows_of(model: ir.Model, found: list[dict[str, np.ndarray]]) -> np.ndarray:
    table = model.graph.initializers["table"].const_value.numpy()
    return np.concatenate([table[one["input_ids"][one["attention_mask"] != 0]] for one in found])


def test_moments_are_those_of_all_tokens_without_the_padding(model):
    inputs = batches()
    seen = collect_inputs(model, inputs, ["x", "y"], grams=["x"])["x"]
    rows = rows_of(model, inputs)
    assert seen.count == len(rows) == len(seen.rows)
    np.testing.assert_allclose(seen.mean, rows.mean(0), rtol=1e-5)
    np.testing.assert_array_equal([seen.low, seen.high], [rows.min(0), rows.max(0)])
    apart = rows - rows.mean(0)
    np.testing.assert_allclose(seen.gram, apart.T @ apart, rtol=1e-3, atol=1e-3)
    assert seen.bounds == (rows.min(), rows.max()) and np.array_equal(seen.peaks, np.abs(rows).max(0))


def test_a_gram_is_kept_only_where_it_is_asked_for(model):
    seen = collect_inputs(model, batches(), ["x", "y"], grams=["y"])
    assert seen["x"].gram is None and seen["y"].gram is not None and seen["y"].gram.shape == (4, 4)


def test_kept_rows_are_limited_even_and_the_same_for_each_tensor_and_each_time(model):
    inputs = batches(50)
    first = collect_inputs(model, inputs, ["x", "y"], rows=40)
    again = collect_inputs(model, inputs, ["x", "y"], rows=40)
    weight = model.graph.initializers["weight"].const_value.numpy()
    assert first["x"].rows.shape == (40, 6)
    np.testing.assert_allclose(first["x"].rows @ weight, first["y"].rows, rtol=1e-5, atol=1e-5)
    assert np.array_equal(first["x"].rows, again["x"].rows)


def test_kept_rows_are_drawn_from_the_first_texts_and_the_last_alike(model):
    inputs = batches(50)
    for number, batch in enumerate(inputs):
        batch["input_ids"] = batch["input_ids"] % 25 + (25 if number >= 25 else 0)
    rows = collect_inputs(model, inputs, ["x"], rows=100)["x"].rows
    last = model.graph.initializers["table"].const_value.numpy()[25:]
    assert 0.3 < np.mean([(last == row).all(axis=1).any() for row in rows]) < 0.7


def test_pooled_tensors_are_as_if_they_were_one(model):
    whole = collect_inputs(model, batches(6), ["x"], grams=["x"])["x"]
    parts = [collect_inputs(model, part, ["x"], grams=["x"])["x"] for part in (batches(6)[:2], batches(6)[2:])]
    pooled = pool(parts)
    assert pooled.count == whole.count and pool([whole]) is whole
    np.testing.assert_allclose(pooled.mean, whole.mean, rtol=1e-5)
    np.testing.assert_allclose(pooled.gram, whole.gram, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal([pooled.low, pooled.high], [whole.low, whole.high])


def test_a_tensor_that_the_graph_lacks_is_named(model):
    with pytest.raises(CalibrationError, match=r"no tensor called 'z'.*calibrate again"):
        list(stream_tensors(model, batches(), ["z"]))


def test_texts_without_tokens_are_refused(model):
    nothing = [{"input_ids": np.zeros((2, 3), np.int64), "attention_mask": np.zeros((2, 3), np.int64)}]
    for inputs in ([], nothing):
        with pytest.raises(CalibrationError, match="no tokens"):
            collect_inputs(model, inputs, ["x"])


def test_values_that_are_not_finite_are_refused_by_name(model):
    table = model.graph.initializers["table"]
    table.const_value = ir.tensor(np.full((50, 6), np.inf, np.float32), name="table")
    with pytest.raises(CalibrationError, match="x is not finite"):
        collect_inputs(model, batches(), ["x"])
