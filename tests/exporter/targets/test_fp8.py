"""fp8: E4M3 Q/DQ around the products, one stored weight each, as TensorRT's parser and compiler want it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.sites import find_linears
from bvx.exporter.checker import check
from bvx.exporter.families import known_families
from bvx.exporter.reference import check_lowered
from bvx.exporter.targets.fp8 import LARGEST, quantize_fp8
from bvx.exporter.targets.half import BF16, FP16, narrow
from bvx.runtime.errors import CalibrationError
from bvx.runtime.parity import Tolerance, compare

FAMILIES = sorted(known_families())
E4M3 = ir.DataType.FLOAT8E4M3FN
ALLOWED = Tolerance(0.5, 0.1, 0.99, 0.9)
"""Twice what the five families reach at most with two layers."""


@pytest.fixture
def lowered(captured, seen):
    """A family's graph in fp8, as it was before, and the feeds that calibrated it: lowered(family, attention=False)."""

    def make(family: str, attention: bool = False, task: str = "text-classification"):
        one = captured(family, task, num_attention_heads=2)
        model, _ = one.canonical()
        feeds = one.feeds(4, 13)
        before = model.clone()
        quantize_fp8(model, seen(before, feeds), attention=attention)
        return model, before, feeds

    return make


def by_name(model: ir.Model) -> dict[str, ir.Node]:
    return {str(node.name): node for node in model.graph}


@pytest.mark.parametrize("kind", [FP16, BF16], ids=lambda kind: kind.name)
@pytest.mark.parametrize("attention", [False, True], ids=["linears", "attention"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_valid_breaks_no_rule_and_says_what_fp32_said(
    family, attention, kind, lowered, run_graph, tmp_path
):
    model, before, feeds = lowered(family, attention)
    narrow(model, kind)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert not check(model)
    ir.save(model, tmp_path / "fp8.onnx")
    found = check_lowered(tmp_path / "fp8.onnx", feeds)["logits"]
    row = compare("fp8", "logits", run_graph(before, feeds)["logits"], found, ALLOWED)
    assert row.passed, row


def test_every_linear_reads_both_sides_through_fp8(lowered):
    model, before, _ = lowered("bert")
    nodes = by_name(model)
    linears = find_linears(before.graph)
    assert len(linears) == 14
    for linear in linears:
        source, weight = (value.producer() for value in nodes[linear.node].inputs[:2])
        assert source.op_type == weight.op_type == "DequantizeLinear"
        assert source.inputs[0].producer().op_type == "QuantizeLinear" and source.inputs[0].dtype == E4M3
        assert weight.inputs[0].is_initializer() and weight.inputs[0].dtype == E4M3
        assert weight.attributes.get_int("axis") == linear.axis and "axis" in source.attributes
        assert weight.inputs[1].const_value.size == weight.inputs[0].shape[linear.axis]
        assert source.inputs[1].const_value.size == 1
        for value in (*source.inputs[2:], *weight.inputs[2:]):
            assert value.dtype == E4M3 and not value.const_value.numpy().astype(np.float32).any()


def test_scales_are_the_largest_value_over_448(lowered, seen):
    model, before, feeds = lowered("bert")
    peaks = seen(before, feeds).peaks
    for linear in find_linears(before.graph):
        found = float(model.graph.initializers[f"{linear.input}.scale"].const_value.numpy())
        assert 1 <= found / (peaks[linear.input] / LARGEST) < 1 + 1 / 127


def test_queries_that_share_an_input_share_its_nodes(lowered):
    model, before, _ = lowered("roberta")
    inputs = {linear.input for linear in find_linears(before.graph)}
    assert sum(node.op_type == "QuantizeLinear" for node in model.graph) == len(inputs)


def test_alberts_weight_is_stored_and_dequantised_once_with_a_range_for_every_use(lowered, copies):
    model, before, _ = lowered("albert")
    weights = {linear.weight for linear in find_linears(before.graph)}
    stored = [
        name for name, value in model.graph.initializers.items() if value.dtype == E4M3 and value.shape.rank() == 2
    ]
    assert set(stored) == weights and not copies(model)
    readers = [node for node in model.graph if node.op_type == "DequantizeLinear" and node.inputs[0].is_initializer()]
    assert len(readers) == len(weights)
    scales = {name for name in model.graph.initializers if name.endswith("ffn_output.MatMul.scale")}
    assert scales == set() and "layer.0.activation.Gelu.scale" in model.graph.initializers
    assert "layer.1.activation.Gelu.scale" in model.graph.initializers


def test_weights_lie_within_the_type_and_near_what_they_were(lowered):
    model, before, _ = lowered("electra")
    for linear in find_linears(before.graph):
        wanted = before.graph.initializers[linear.weight].const_value.numpy()
        stored = model.graph.initializers[linear.weight].const_value.numpy().astype(np.float32)
        scales = model.graph.initializers[f"{linear.weight}.scale"].const_value.numpy()
        assert np.abs(stored).max() <= LARGEST
        found = stored * np.expand_dims(scales, 1 - linear.axis)
        # Three binary digits behind the leading one, and steps of 2^-9 scales around zero.
        bound = np.maximum(np.abs(wanted) / 16, np.expand_dims(scales, 1 - linear.axis) * 2**-10)
        assert np.all(np.abs(found - wanted) <= bound * 1.001)


@pytest.mark.parametrize("kind", [FP16, BF16], ids=lambda kind: kind.name)
def test_every_scale_is_exact_in_the_type_of_the_graph(kind, seen):
    weight = np.diag([1e-9, 1e-5, 3.3e-3, 7.0]).astype(np.float32)
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 23]> t (float[a, 4] x) => (float[a, 4] y) { t = Tanh(x) y = MatMul(t, w) }'
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    ranges = Ranges("minmax", Corpus("test", 1, 1, 1, 0, ""), {}, {"t": 1.0, "y": 7.0})
    quantize_fp8(model, ranges)
    before = model.graph.initializers["w.scale"].const_value.numpy()
    assert np.all(before > 0) and np.all(before * LARGEST >= np.diag(weight))
    assert narrow(model, kind).refusals == {}
    np.testing.assert_array_equal(model.graph.initializers["w.scale"].const_value.numpy().astype(np.float32), before)


def test_attentions_weights_have_their_largest_value_as_scale_and_its_q_nodes_stand_behind_scale_and_transpose(lowered):
    model, _, _ = lowered("bert", attention=True)
    nodes = by_name(model)
    for layer in (0, 1):
        name = f"layer.{layer}.attention.self.Attention"
        sources = {}
        for node, index in (("scores", 0), ("scores", 1), ("product", 0), ("product", 1)):
            up = nodes[f"{name}.{node}"].inputs[index].producer()
            down = up.inputs[0].producer()
            assert (up.op_type, down.op_type) == ("DequantizeLinear", "QuantizeLinear")
            sources[node, index] = (down.inputs[0].producer(), float(down.inputs[1].const_value.numpy()))
        assert sources["scores", 0][0].op_type == "Mul" and sources["scores", 1][0].op_type == "Transpose"
        weights, scale = sources["product", 0]
        assert weights.name == f"{name}.weights" and 1 <= scale * LARGEST < 1 + 1 / 127


def test_kept_nodes_and_tables_that_are_looked_up_stay_and_say_why(captured, seen):
    one = captured("albert", "fill-mask")
    model, _ = one.canonical()
    ranges = seen(model, one.feeds(2, 7))
    (log,) = quantize_fp8(model, ranges, kept=["layer.0.ffn.MatMul"])
    assert log.refusals == {"it is kept in a higher precision": 1, "its weight is looked up as well": 1}
    assert model.graph.initializers["predictions.decoder.weight"].dtype == ir.DataType.FLOAT
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    # Its weight is that of the other layer, which is stored once, so that it reads it dequantised.
    source, weight = next(node for node in model.graph if node.name == "layer.0.ffn.MatMul").inputs
    assert source.producer().op_type == "LayerNormalization" and weight.producer().op_type == "DequantizeLinear"


def test_an_input_without_a_range_is_named(captured):
    model, _ = captured("bert", "text-classification").canonical()
    with pytest.raises(CalibrationError, match=r"say nothing of .*LayerNorm.*, which fp8 needs"):
        quantize_fp8(model, Ranges("minmax", Corpus("test", 1, 1, 1, 0, ""), {}, {}))
