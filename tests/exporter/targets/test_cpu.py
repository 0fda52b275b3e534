"""int8 for ONNX Runtime's CPU engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.calibration.sites import find_linears, find_tables
from bvx.calibration.weights import quantize_weight
from bvx.exporter.targets import LOWERINGS
from bvx.exporter.targets.cpu import ENGINE_OPTIONS, write_dynamic_int8, write_int8
from bvx.exporter.targets.qdq.activations import unsigned
from bvx.runtime.errors import CalibrationError

CELLS = [
    ("albert", "fill-mask"),
    ("albert", "text-classification"),
    ("bert", "fill-mask"),
    ("bert", "feature-extraction"),
    ("electra", "fill-mask"),
    ("electra", "replaced-token-detection"),
    ("roberta", "fill-mask"),
    ("roberta", "text-classification"),
    ("spanbert", "question-answering"),
]
INTEGER = ("MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul")


def lowered(case, write=write_int8) -> ir.Model:
    model = case.graph.clone()
    write(model, case.recipe)
    return model


@pytest.mark.parametrize(("family", "task"), CELLS)
def test_every_linear_layer_is_fused_into_an_integer_product(case_of, optimized, count, family, task):
    case = case_of(family, task)
    model = lowered(case)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = count(optimized(model, tuple(ENGINE_OPTIONS["disabled_optimizers"])))
    assert sum(found[name] for name in INTEGER) == len(find_linears(case.graph.graph))
    assert not found["MatMul"] and not found["Gemm"] and not found["DequantizeLinear"]


@pytest.mark.parametrize(("family", "task"), CELLS)
def test_it_says_what_the_recipe_says_in_floats(case_of, imitate, run_graph, family, task):
    case = case_of(family, task)
    wanted = run_graph(imitate(case.graph, case.recipe, unsigned), case.feeds)
    found = run_graph(lowered(case), case.feeds)
    plain = run_graph(case.graph, case.feeds)
    for name, value in wanted.items():
        assert np.abs(found[name] - value).mean() < 0.05 * np.abs(plain[name] - value).mean() + 1e-6, name


@pytest.mark.parametrize(("family", "task"), CELLS)
def test_fused_kernels_say_it_too(case_of, imitate, run_graph, run_fused, family, task):
    case = case_of(family, task)
    wanted = run_graph(imitate(case.graph, case.recipe, unsigned), case.feeds)
    found = run_fused(lowered(case), case.feeds)
    plain = run_graph(case.graph, case.feeds)
    for name, value in wanted.items():
        # A sum in another order may put a value on the neighbouring step; a wrong scale puts all of them elsewhere.
        assert np.abs(found[name] - value).mean() < 0.3 * np.abs(plain[name] - value).mean() + 1e-6, name


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(case_of, run_fused):
    case = case_of("bert", "text-classification")
    model = lowered(case)
    together = run_fused(model, case.feeds)["logits"]
    for row in range(2):
        alone = run_fused(model, {name: value[row : row + 1] for name, value in case.feeds.items()})["logits"]
        np.testing.assert_allclose(together[row : row + 1], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("family", "task"), [("albert", "fill-mask"), ("bert", "fill-mask"), ("roberta", "fill-mask")])
def test_every_weight_is_stored_once_as_int8(case_of, copies, family, task):
    case = case_of(family, task)
    model = lowered(case)
    stored = model.graph.initializers
    for name, weight in case.recipe.weights.items():
        assert stored[name].dtype == ir.DataType.INT8
        np.testing.assert_array_equal(stored[name].const_value.numpy(), weight.values)
    integers = [value for value in stored.values() if value.dtype == ir.DataType.INT8 and len(value.shape) == 2]
    assert len(integers) == len(case.recipe.weights) and not copies(model)
    assert sum(node.op_type == "DequantizeLinear" and node.inputs[0] in integers for node in model.graph) <= len(
        integers
    )


def test_each_use_of_alberts_shared_weight_keeps_its_own_range(case_of):
    case = case_of("albert", "text-classification")
    model = lowered(case)
    shared = [linear for linear in find_linears(case.graph.graph) if "ffn.weight" in linear.weight]
    nodes = {node.name: node for node in model.graph}
    scales = {float(nodes[one.node].inputs[0].producer().inputs[1].const_value.numpy()) for one in shared}
    assert len({one.weight for one in shared}) == 1 and len(scales) == len(shared) > 1


def test_a_table_is_looked_up_as_integers(case_of):
    case = case_of("bert", "feature-extraction")
    model = lowered(case)
    (table,) = (one for one in find_tables(case.graph.graph) if one.weight in case.recipe.weights)
    readers = [use.node.op_type for use in model.graph.initializers[table.weight].uses()]
    assert readers == ["Gather"]


def test_a_layer_that_is_kept_computes_in_floats(case_of, optimized, count):
    linears = find_linears(case_of("bert", "text-classification").graph.graph)
    kept = {linears[2].node: "too much is lost"}
    case = case_of("bert", "text-classification", kept=kept)
    model = case.graph.clone()
    logs = write_int8(model, case.recipe)
    assert {"too much is lost": 1} in [log.refusals for log in logs]
    assert model.graph.initializers[linears[2].weight].dtype == ir.DataType.FLOAT
    found = count(optimized(model))
    assert sum(found[name] for name in INTEGER) == len(linears) - 1
    assert found["MatMul"] + found["Gemm"] + found["FusedMatMul"] == 1


def test_a_kept_use_of_a_shared_weight_reads_the_integers_that_are_stored(case_of, imitate, run_graph):
    shared = [
        one for one in find_linears(case_of("albert", "text-classification").graph.graph) if "ffn.w" in one.weight
    ]
    case = case_of("albert", "text-classification", kept={shared[0].node: "too much is lost"})
    model = lowered(case)
    node = next(node for node in model.graph if node.name == shared[0].node)
    assert node.inputs[0].producer().op_type != "DequantizeLinear"
    assert node.inputs[1].producer().op_type == "DequantizeLinear"
    assert model.graph.initializers[shared[0].weight].dtype == ir.DataType.INT8
    wanted = run_graph(imitate(case.graph, case.recipe, unsigned), case.feeds)["logits"]
    np.testing.assert_allclose(run_graph(model, case.feeds)["logits"], wanted, atol=1e-3)


def test_a_smoothed_input_is_multiplied_before_it_is_rounded(case_of, imitate, run_graph):
    case = case_of("bert", "text-classification")
    graph = case.graph.graph
    linear = next(one for one in find_linears(graph) if "output.dense" in one.node)
    weight = graph.initializers[linear.weight].const_value.numpy()
    vector = np.linspace(0.5, 2, weight.shape[0], dtype=np.float32)
    smoothed = quantize_weight(weight / vector[:, None], 1, True)
    recipe = replace(
        case.recipe, smooth={linear.input: vector}, weights={**case.recipe.weights, linear.weight: smoothed}
    )
    model = case.graph.clone()
    write_int8(model, recipe)
    node = next(node for node in model.graph if node.name == linear.node)
    assert node.inputs[0].producer().inputs[0].producer().inputs[0].producer().op_type == "Mul"
    wanted = run_graph(imitate(case.graph, recipe, unsigned), case.feeds)["logits"]
    np.testing.assert_allclose(run_graph(model, case.feeds)["logits"], wanted, atol=1e-3)


def test_corrected_biases_and_replaced_weights_are_stored(case_of):
    case = case_of("bert", "text-classification")
    linear = find_linears(case.graph.graph)[0]
    norm = next(name for name in case.graph.graph.initializers if name.endswith("LayerNorm.weight"))
    shape = case.graph.graph.initializers[norm].shape.numpy()
    bias = np.full(case.graph.graph.initializers[linear.bias].shape.numpy(), 0.25, np.float32)
    model = case.graph.clone()
    write_int8(model, replace(case.recipe, biases={linear.bias: bias}, replaced={norm: np.full(shape, 3, np.float32)}))
    np.testing.assert_array_equal(model.graph.initializers[linear.bias].const_value.numpy(), bias)
    assert (model.graph.initializers[norm].const_value.numpy() == 3).all()


def test_a_bias_too_large_for_its_row_of_the_table_makes_the_row_coarser(case_of, run_graph):
    case = case_of("bert", "fill-mask")
    (decoder,) = (one for one in find_linears(case.graph.graph) if one.axis == 0 and one.bias)
    weight = case.recipe.weights[decoder.weight]
    tiny = replace(weight, scales=np.where(np.arange(len(weight.scales)) == 7, np.float32(1e-12), weight.scales))
    bias = np.zeros(len(weight.scales), np.float32)
    bias[7] = -10
    changed = {**case.recipe.weights, decoder.weight: tiny}
    model = case.graph.clone()
    write_int8(model, replace(case.recipe, weights=changed, biases={decoder.bias: bias}))
    np.testing.assert_allclose(run_graph(model, case.feeds)["logits"][..., 7], -10, rtol=1e-4)


def test_dynamic_int8_is_fused_and_says_that_it_depends_on_the_batch(case_of, optimized, count, run_graph, run_fused):
    case = case_of("roberta", "feature-extraction")
    model = lowered(case, write_dynamic_int8)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = count(optimized(model, tuple(ENGINE_OPTIONS["disabled_optimizers"])))
    products = count(case.graph)["MatMul"]
    assert found["DynamicQuantizeMatMul"] + found["MatMulIntegerToFloat"] == products > 0
    assert not found["MatMul"] and not found["MatMulInteger"]
    plain, rounded = (run(one, case.feeds) for run, one in ((run_graph, case.graph), (run_fused, model)))
    for name, value in plain.items():
        assert 0 < np.abs(rounded[name] - value).mean() < 0.1 * np.abs(value).mean()
    assert [one.batch_dependent for one in LOWERINGS if one.precision == "int8-dynamic"] == [True]
    assert not any(one.batch_dependent for one in LOWERINGS if one.precision == "int8")


@pytest.mark.parametrize("write", [write_int8, write_dynamic_int8])
def test_without_a_recipe_it_says_what_is_missing(case_of, write):
    with pytest.raises(CalibrationError, match="needs a recipe"):
        write(case_of("bert", "text-classification").graph.clone(), None)
