"""A recipe that is made with care says in float what the graph says, and in int8 nearly that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from bvx.calibration.activations import collect_inputs
from bvx.calibration.layers import Layers
from bvx.calibration.plain import plain_recipe
from bvx.calibration.quantizer import QuantizeOptions, make_recipe, thin
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.recipe import Recipe
from bvx.calibration.sites import find_linears
from bvx.calibration.weights import restore
from bvx.runtime.errors import CalibrationError

PLAIN = QuantizeOptions(smooth="nowhere", rounding="nearest", bias=False)
CELLS = [("albert", "text-classification"), ("bert", "feature-extraction"), ("roberta", "fill-mask")]


@pytest.fixture(params=CELLS, ids="-".join)
def model(request, tiny_bundle) -> ir.Model:
    """A small model whose attention output and feed-forward input have an outlier channel in every layer."""
    model = ir.load(tiny_bundle(*request.param) / "onnx/model.onnx")
    for name, value in model.graph.initializers.items():
        array = value.const_value.numpy().copy()
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            array[2] *= 12
        if "value.bias" in name:
            array[5] += 20
        value.const_value = ir.tensor(array, name=name)
    return model


def batches(model: ir.Model) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(3)
    ids = [random.integers(5, 200, (4, length)) for length in (3, 9, 20)]
    return [{"input_ids": one, "attention_mask": one * 0 + 1, "token_type_ids": one * 0} for one in ids]


def see(model: ir.Model) -> Ranges:
    linears = find_linears(model.graph)
    names = tuple(dict.fromkeys([*(one.input for one in linears), *(one.output for one in linears if one.bias)]))
    bounds = {name: seen.bounds for name, seen in collect_inputs(model, batches(model), names).items()}
    return Ranges("minmax", Corpus("test", 12, 12, 128, 0, ""), bounds, {})


def session(model: ir.Model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)


def write(model: ir.Model, recipe: Recipe, rounded: bool = True) -> ir.Model:
    """The graph with Mul, Q and DQ in front of each linear layer; without `rounded`, with the Muls alone."""
    written = model.clone()
    graph = written.graph
    stored = {name: restore(weight) for name, weight in recipe.weights.items()}
    for name, array in {**recipe.replaced, **recipe.biases, **stored}.items():
        graph.initializers[name].const_value = ir.tensor(np.ascontiguousarray(array), name=name)
    nodes = {node.name: node for node in graph}
    for linear in find_linears(graph):
        node = nodes[linear.node]
        value = node.inputs[0]
        if linear.input in recipe.smooth:
            vector = ir.Value(name=f"{node.name}.vector", const_value=ir.tensor(recipe.smooth[linear.input]))
            graph.initializers[vector.name] = vector
            graph.insert_before(node, product := ir.node("Mul", [value, vector]))
            value = product.outputs[0]
        if rounded and linear.node not in recipe.kept:
            low, high = (min(recipe.ranges.bounds[linear.input][0], 0), max(recipe.ranges.bounds[linear.input][1], 0))
            scale = np.float32((high - low) / 255)
            zero = np.uint8(np.rint(-low / scale))
            parts = [
                ir.Value(name=f"{node.name}.{i}", const_value=ir.tensor(one)) for i, one in enumerate((scale, zero))
            ]
            graph.initializers.update({part.name: part for part in parts})
            down = ir.node("QuantizeLinear", [value, *parts])
            up = ir.node("DequantizeLinear", [down.outputs[0], *parts])
            graph.insert_before(node, [down, up])
            value = up.outputs[0]
        node.replace_input_with(0, value)
    return written


def error(model: ir.Model, other: ir.Model) -> float:
    """The mean square difference of all outputs, relative to their variance."""
    found = []
    for batch in batches(model):
        feeds = {value.name: batch[value.name] for value in model.graph.inputs}
        found.append([one.run(None, feeds)[0].reshape(-1) for one in (session(model), session(other))])
    before, after = (np.concatenate(side) for side in zip(*found, strict=True))
    return float(np.square(before - after).mean() / before.var())


def test_with_everything_off_it_is_the_plainest_recipe(model):
    found, plain = make_recipe(model, see(model), batches(model), PLAIN), plain_recipe(model.graph, see(model))
    assert not found.smooth and not found.biases and not found.replaced and found.weights.keys() == plain.weights.keys()
    assert all(np.array_equal(found.weights[name].values, plain.weights[name].values) for name in plain.weights)


@pytest.mark.parametrize("everywhere", [False, True])
def test_smoothing_changes_nothing_in_float(model, everywhere):
    layers = Layers(model.graph, plain_recipe(model.graph, see(model)))
    layers.smooth(layers.look(model, batches(model), grams=False), everywhere)
    recipe = replace(layers.recipe(), weights={}, biases={}, replaced=layers.smoothed)
    assert recipe.replaced and bool(recipe.smooth) == everywhere
    assert error(model, write(model, recipe, rounded=False)) < 1e-9
    again = Layers(model.graph, plain_recipe(model.graph, see(model)))
    again.smooth(again.look(model, batches(model), grams=False), everywhere)
    assert all(np.array_equal(again.smoothed[name], array) for name, array in layers.smoothed.items())


def test_bounds_are_those_of_what_is_quantised(model):
    recipe = make_recipe(model, see(model), batches(model), QuantizeOptions(embeddings=False))
    written = write(model, recipe, rounded=False)
    muls = {
        node.inputs[0].name: node.outputs[0]
        for node in written.graph
        if node.inputs[0].name in recipe.smooth and node.op_type == "Mul"
    }
    for number, value in enumerate(muls.values()):
        value.name = f"smoothed.{number}"
    found = collect_inputs(written, batches(model), [value.name for value in muls.values()])
    for name, value in muls.items():
        if name == "embeddings.LayerNorm.LayerNormalization":  # in front of all that is rounded
            np.testing.assert_allclose(found[value.name].bounds, recipe.ranges.bounds[name], rtol=1e-4)
    assert recipe.smooth.keys() == muls.keys()


def test_it_loses_far_less_than_the_plainest_recipe(model):
    ranges = see(model)
    plain = error(model, write(model, make_recipe(model, ranges, batches(model), PLAIN)))
    careful = error(model, write(model, make_recipe(model, ranges, batches(model))))
    assert careful < 0.5 * plain


def test_a_shared_weight_is_one_entry_and_its_uses_keep_their_own_ranges(tiny_bundle):
    model = ir.load(tiny_bundle("albert", "text-classification") / "onnx/model.onnx")
    recipe = make_recipe(model, see(model), batches(model))
    uses = [one for one in find_linears(model.graph) if one.node.endswith("ffn.MatMul")]
    assert len(uses) > 1 and len({one.weight for one in uses}) == 1 and uses[0].weight in recipe.weights
    vectors = [recipe.smooth[one.input] for one in uses if one.input in recipe.smooth]
    assert len(vectors) in (0, len(uses)) and all(np.array_equal(vector, vectors[0]) for vector in vectors)
    assert len({recipe.ranges.bounds[one.input] for one in uses}) == len(uses)


def test_a_table_that_is_a_decoder_too_is_neither_smoothed_nor_rounded_together(tiny_bundle):
    model = ir.load(tiny_bundle("roberta", "fill-mask") / "onnx/model.onnx")
    plain, found = plain_recipe(model.graph, see(model)), make_recipe(model, see(model), batches(model))
    (decoder,) = [one for one in find_linears(model.graph) if "decoder" in one.node or "lm_head.MatMul" in one.node]
    if any(node.op_type == "Gather" and node.inputs[0].name == decoder.weight for node in model.graph):
        assert np.array_equal(found.weights[decoder.weight].values, plain.weights[decoder.weight].values)
        assert decoder.input not in found.smooth


def test_a_kept_layer_stays_in_float_whatever_is_done_around_it(tiny_bundle):
    model = ir.load(tiny_bundle("bert", "feature-extraction") / "onnx/model.onnx")
    query, key, value, dense = find_linears(model.graph)[:4]
    kept = {query.node: "sensitive", dense.node: "sensitive"}
    recipe = make_recipe(model, see(model), batches(model), QuantizeOptions(kept=kept))
    assert recipe.kept == kept and not {query.weight, dense.weight, query.weight} & recipe.weights.keys()
    assert {key.weight, value.weight} <= recipe.weights.keys()


def test_weights_stay_in_the_reduced_range(model):
    recipe = make_recipe(model, see(model), batches(model), QuantizeOptions(reduced=True))
    linears = {one.weight for one in find_linears(model.graph)}
    assert recipe.reduced and max(np.abs(recipe.weights[name].values).max() for name in linears) <= 64


def test_the_same_arguments_make_the_same_recipe(model):
    first, again = (make_recipe(model, see(model), batches(model)) for _ in range(2))
    assert first.ranges.bounds == again.ranges.bounds
    for one, other in ((first.biases, again.biases), (first.smooth, again.smooth)):
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    assert all(np.array_equal(first.weights[name].values, again.weights[name].values) for name in first.weights)


def test_a_tensor_without_a_range_and_texts_without_tokens_are_refused(model):
    ranges = see(model)
    with pytest.raises(CalibrationError, match="no range"):
        make_recipe(model, replace(ranges, bounds={}), batches(model))
    with pytest.raises(CalibrationError, match="no tokens"):
        make_recipe(model, ranges, [])


def test_of_many_texts_an_even_choice_is_looked_at():
    inputs = [{"attention_mask": np.ones((10, 10), np.int64), "number": np.array(number)} for number in range(12)]
    assert [int(batch["number"]) for batch in thin(inputs, 300)] == [0, 4, 8]
    assert list(thin(inputs, 1200)) == list(thin(inputs, 10**6)) == inputs and not list(thin([]))
