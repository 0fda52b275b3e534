"""int8 for TensorRT. The rules that the graphs are held against were tried with NVIDIA's own builder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.calibration.plain import plain_recipe
from bvx.calibration.sites import find_linears, find_tables
from bvx.exporter.checker import check
from bvx.exporter.targets.qdq.activations import signed
from bvx.exporter.targets.tensorrt import quantize, write_int8
from bvx.runtime.errors import CalibrationError

CELLS = [
    ("albert", "fill-mask"),
    ("bert", "feature-extraction"),
    ("electra", "replaced-token-detection"),
    ("roberta", "fill-mask"),
    ("spanbert", "question-answering"),
]
HEADS = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
"""Heads of 16, which TensorRT fuses in int8."""


@pytest.mark.parametrize(("family", "task"), CELLS)
def test_the_graph_keeps_every_rule_of_tensorrt(case_of, family, task):
    case = case_of(family, task, shape=HEADS)
    model = case.graph.clone()
    write_int8(model, case.recipe)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert check(model) == ()


@pytest.mark.parametrize(("family", "task"), CELLS)
def test_it_says_what_the_recipe_says_in_floats(case_of, imitate, run_graph, family, task):
    case = case_of(family, task)
    looked_up = {table.weight for table in find_tables(case.graph.graph)}
    weights = {name: weight for name, weight in case.recipe.weights.items() if name not in looked_up}
    wanted = run_graph(imitate(case.graph, replace(case.recipe, weights=weights), signed), case.feeds)
    model = case.graph.clone()
    quantize(model, case.recipe)
    found, plain = run_graph(model, case.feeds), run_graph(case.graph, case.feeds)
    for name, value in wanted.items():
        assert np.abs(found[name] - value).mean() < 0.05 * np.abs(plain[name] - value).mean() + 1e-6, name


def test_scales_are_of_the_type_of_the_graph_around_them(case_of):
    case = case_of("bert", "text-classification", shape=HEADS)
    model = case.graph.clone()
    write_int8(model, case.recipe)
    pairs = [node for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs and {node.inputs[1].dtype for node in pairs} == {ir.DataType.FLOAT16}


def test_alberts_shared_weights_are_stored_once(case_of, copies):
    case = case_of("albert", "text-classification")
    model = case.graph.clone()
    write_int8(model, case.recipe)
    integers = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.INT8]
    linears = find_linears(case.graph.graph)
    assert sum(len(value.shape) == 2 for value in integers) == len({one.weight for one in linears}) < len(linears)
    assert not copies(model)


def test_a_tied_decoder_keeps_the_one_table_in_floats_and_says_so(case_of):
    case = case_of("bert", "fill-mask")
    model = case.graph.clone()
    logs = {log.name: log for log in write_int8(model, case.recipe)}
    (tied,) = {table.weight for table in find_tables(case.graph.graph) if table.tied}
    assert model.graph.initializers[tied].dtype == ir.DataType.FLOAT16
    assert logs["quantize_linears"].refusals == {"its weight is looked up as well": 1}


def test_attention_is_int8_in_the_whole_pattern(case_of, run_graph):
    case = case_of("bert", "text-classification", shape=HEADS, attention=True)
    model = case.graph.clone()
    logs = {log.name: log for log in quantize(model, case.recipe)}
    softmaxes = [node for node in model.graph if node.op_type == "Softmax"]
    assert logs["quantize_attention"].applied == len(softmaxes) == 2
    for softmax in softmaxes:
        (rounded,) = softmax.outputs[0].consumers()
        assert rounded.op_type == "QuantizeLinear"
        np.testing.assert_allclose(rounded.inputs[1].const_value.numpy(), 1 / 127, rtol=2**-10)
        (product,) = rounded.outputs[0].consumers()[0].outputs[0].consumers()
        assert product.op_type == "MatMul" and product.inputs[1].producer().op_type == "DequantizeLinear"
        assert [node.op_type for node in product.outputs[0].consumers()] == ["QuantizeLinear"]
        scores = next(node for node in model.graph if node.name == product.name.replace("product", "scores"))
        assert all(value.producer().op_type == "DequantizeLinear" for value in scores.inputs)
    plain, found = (run_graph(one, case.feeds)["logits"] for one in (case.graph, model))
    assert np.isfinite(found).all()
    assert 0 < np.abs(found - plain).mean() < 0.2 * np.abs(plain).mean()
    # What the pattern adds is small beside what the linear layers lose already.
    linears = case.graph.clone()
    quantize(linears, replace(case.recipe, attention=False))
    lost = np.abs(run_graph(linears, case.feeds)["logits"] - plain).mean()
    assert np.abs(found - plain).mean() < 5 * lost


def test_int8_attention_keeps_every_rule_of_tensorrt(case_of):
    case = case_of("bert", "text-classification", shape=HEADS, attention=True)
    model = case.graph.clone()
    write_int8(model, case.recipe)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert check(model) == ()


def test_an_attention_that_fp16_cannot_hold_is_not_quantised_either(case_of, seen, scaled, run_graph):
    case = case_of("bert", "text-classification", shape=HEADS, attention=True)
    graph = case.graph.clone()
    for part in ("query.weight", "query.bias", "key.weight", "key.bias"):
        scaled(graph, f"bert.encoder.layer.1.attention.self.{part}", 1e3)
    ranges, wanted = seen(graph, case.feeds), run_graph(graph, case.feeds)["logits"]
    recipe = plain_recipe(graph.graph, ranges, reduced=True, attention=True)
    model = graph.clone()
    logs = {log.name: log for log in write_int8(model, recipe)}
    assert logs["quantize_attention"].applied == 1
    (reason,) = logs["quantize_attention"].refusals
    assert "its scores can reach" in reason
    parts = [node for node in model.graph if str(node.name).startswith("layer.1.attention.self.Attention.")]
    parts = [node for node in parts if node.op_type not in ("Cast", "QuantizeLinear", "DequantizeLinear")]
    assert {value.dtype for node in parts for value in node.outputs} == {ir.DataType.FLOAT}
    scores = next(node for node in parts if str(node.name).endswith(".scores"))
    assert not any(value.producer().op_type == "DequantizeLinear" for value in scores.inputs)
    found = run_graph(model, case.feeds)["logits"]
    np.testing.assert_allclose(found, wanted, atol=0.3 * np.sqrt(np.mean(wanted**2)))


def test_every_activation_scale_is_exact_in_fp16_and_clips_nothing(case_of):
    case = case_of("bert", "text-classification", shape=HEADS, attention=True)
    model = case.graph.clone()
    quantize(model, case.recipe)
    bounds = case.recipe.ranges.bounds
    pairs = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    exact = [node.inputs[1].const_value.numpy() for node in pairs]
    assert all(scale == scale.astype(np.float16).astype(np.float32) for scale in exact)
    # Rounded to the nearest some would be too small: the test would see that.
    wanted = {node.name: max(map(abs, bounds[node.inputs[0].name])) for node in pairs if node.inputs[0].name in bounds}
    assert any(float(np.float16(most / 127)) < most / 127 for most in wanted.values())
    for node, scale in zip(pairs, exact, strict=True):
        if node.name in wanted:
            assert wanted[node.name] <= 127 * float(scale) <= wanted[node.name] * (1 + 2**-10)


def test_attention_of_another_head_size_stays_whole_and_says_so(case_of):
    case = case_of("bert", "text-classification", shape={**HEADS, "hidden_size": 48}, attention=True)
    model = case.graph.clone()
    logs = {log.name: log for log in write_int8(model, case.recipe)}
    assert sum(node.op_type == "Attention" for node in model.graph) == 2
    assert logs["quantize_attention"].refusals == {"its heads are 24 wide; int8 attention is fused for 16, 32, 64": 2}


def test_without_a_recipe_it_says_what_is_missing(case_of):
    with pytest.raises(CalibrationError, match="needs a recipe"):
        write_int8(case_of("bert", "text-classification").graph.clone(), None)
