"""The GPU forms: what TensorRT and ONNX Runtime build, with what does not fit in float32, in fp16 and beside int8."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.calibration.plain import plain_recipe
from bvx.calibration.recipe import Recipe
from bvx.exporter.checker import check
from bvx.exporter.targets import LOWERINGS, cuda
from bvx.exporter.targets.evidence import find_kept
from bvx.exporter.targets.half import FP16
from bvx.exporter.targets.strongly_typed import narrow_strongly, write_fp8, write_fp16
from bvx.exporter.targets.tensorrt import write_int8
from bvx.runtime.errors import CalibrationError

LAYER = "bert.encoder.layer.1"
ATTENTION = "layer.1.attention.self.Attention"


def refused(model: ir.Model) -> list[str]:
    return [finding.reason for finding in check(model) if finding.severity == "refused"]


@pytest.fixture
def small(captured, seen):
    """A BERT with heads of 16, a recipe with its ranges, and the feeds: small(heads=2)."""

    def make(heads: int = 2):
        one = captured("bert", "text-classification", num_attention_heads=heads)
        model, _ = one.canonical()
        feeds = one.feeds(3, 11)
        return model, Recipe(seen(model, feeds), {}), feeds

    return make


@pytest.mark.parametrize("heads", [2, 4], ids=["heads of 16", "heads of 8"])
@pytest.mark.parametrize(
    "lowering", [one for one in LOWERINGS if one.target == "tensorrt"], ids=lambda lowering: lowering.precision
)
def test_every_precision_for_tensorrt_is_valid_and_breaks_no_rule(lowering, heads, small):
    model, recipe, _ = small(heads)
    lowering.rewrite(model, recipe)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert not refused(model)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp8"])
def test_attention_stays_whole_where_a_kernel_has_it(precision, small):
    model, recipe, _ = small()
    next(one for one in LOWERINGS if (one.target, one.precision) == ("tensorrt", precision)).rewrite(model, recipe)
    assert sum(node.op_type == "Attention" for node in model.graph) == 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_tensorrt_forms_say_what_fp32_said(precision, small, run_graph):
    model, recipe, feeds = small(4)
    wanted = run_graph(model, feeds)["logits"]
    next(one for one in LOWERINGS if (one.target, one.precision) == ("tensorrt", precision)).rewrite(model, recipe)
    np.testing.assert_allclose(run_graph(model, feeds)["logits"], wanted, atol=5e-3 * np.sqrt(np.mean(wanted**2)))


def test_cuda_keeps_attention_whole_whatever_the_heads(small, run_graph):
    model, recipe, feeds = small(4)
    wanted = run_graph(model, feeds)["logits"]
    (log,) = cuda.write_fp16(model, recipe)
    assert log.name == "narrow_to_fp16" and sum(node.op_type == "Attention" for node in model.graph) == 2
    np.testing.assert_allclose(run_graph(model, feeds)["logits"], wanted, atol=5e-3 * np.sqrt(np.mean(wanted**2)))


def test_an_attention_that_is_kept_is_taken_apart_in_float32(small, seen, scaled, run_graph):
    model, _, feeds = small()
    for name in ("query", "key"):
        for part in ("weight", "bias"):
            scaled(model, f"{LAYER}.attention.self.{name}.{part}", 1e3)
    wanted = run_graph(model, feeds)["logits"]
    ranges = seen(model, feeds)
    assert ATTENTION in find_kept(model.graph, FP16, ranges).reasons()
    write_fp16(model, Recipe(ranges, {}))
    assert not refused(model)
    parts = {node.name: node for node in model.graph if str(node.name).startswith(f"{ATTENTION}.")}
    floats = {value.dtype for node in parts.values() if node.op_type != "Cast" for value in node.outputs}
    assert len(parts) > 8 and floats == {ir.DataType.FLOAT}
    found = run_graph(model, feeds)["logits"]
    np.testing.assert_allclose(found, wanted, atol=1e-2 * np.sqrt(np.mean(wanted**2)))


def test_fp8_leaves_what_fp16_cannot_hold_in_float32(small, seen, scaled):
    model, _, feeds = small()
    for part in ("weight", "bias"):
        scaled(model, f"{LAYER}.intermediate.dense.{part}", 3e5)
    scaled(model, f"{LAYER}.output.dense.weight", 1 / 3e5)
    logs = write_fp8(model, Recipe(seen(model, feeds), {}))
    assert logs[0].refusals == {"it is kept in a higher precision": 2}
    nodes = {node.name: node for node in model.graph}
    kept = nodes["layer.1.intermediate.dense.MatMul"]
    assert {value.dtype for value in (*kept.inputs, *kept.outputs)} == {ir.DataType.FLOAT}
    assert not refused(model)


@pytest.mark.parametrize(
    "lowering",
    [one for one in LOWERINGS if one.rewrite is not None and one.target != "cpu"],
    ids=lambda one: f"{one.target}-{one.precision}",
)
def test_lowering_a_copy_leaves_the_canonical_graph_as_it_was(lowering, small):
    model, recipe, _ = small()
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    lowering.rewrite(model.clone(), recipe)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_fp8_without_ranges_is_refused(small):
    with pytest.raises(CalibrationError, match="fp8 needs the ranges"):
        write_fp8(small()[0], None)


MIX = """
    t = Tanh(x) big = MatMul(t, U) f = Mul(big, smooth)
    q = QuantizeLinear(f, s, z) d = DequantizeLinear(q, s, z)
    w = DequantizeLinear<axis = 1>(W, S, Z) y = MatMul(d, w)
"""


def test_beside_int8_an_overflow_reaches_its_q_node_in_float32_smoothing_included(run_graph):
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 23]> t (float[b, 2] x) => (float[b, 2] y) {{ {MIX} }}'
    )
    weights = {
        "U": np.eye(2, dtype=np.float32) * 1e5,
        "smooth": np.full(2, 0.5, np.float32),
        "s": np.float32(5e4 / 127),
        "z": np.int8(0),
        "W": np.array([[100, 3], [-7, 90]], np.int8),
        "S": np.full(2, 1e-6, np.float32),
        "Z": np.zeros(2, np.int8),
    }
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items())
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for node in model.graph:
        node.name = str(node.outputs[0].name)
    feeds = {"x": np.array([[0.3, -2.0]], np.float32)}
    wanted = run_graph(model, feeds)["y"]
    # What the evidence says of the float graph: the product that is too large, and the one that reads it.
    narrow_strongly(model, FP16, ["big", "y"])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    nodes = {node.name: node for node in model.graph}
    assert {nodes[name].inputs[0].dtype for name in ("big", "f", "q", "y")} == {ir.DataType.FLOAT}
    assert nodes["t"].outputs[0].dtype == ir.DataType.FLOAT16 and not refused(model)
    np.testing.assert_allclose(run_graph(model, feeds)["y"], wanted, rtol=1e-3)


def test_a_planted_overflow_is_isolated_beside_int8_as_it_is_in_fp16(small, seen, scaled, run_graph):
    model, _, feeds = small()
    for part in ("weight", "bias"):
        scaled(model, f"{LAYER}.intermediate.dense.{part}", 3e5)
    scaled(model, f"{LAYER}.output.dense.weight", 1 / 3e5)
    wanted, ranges = run_graph(model, feeds)["logits"], seen(model, feeds)
    beyond = set(find_kept(model.graph, FP16, ranges).reasons())
    assert len(beyond) == 4
    write_int8(model, plain_recipe(model.graph, ranges))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    floats = {
        str(node.name)
        for node in model.graph
        if node.op_type not in ("Cast", "DequantizeLinear") and node.outputs[0].dtype == ir.DataType.FLOAT
    }
    assert floats == beyond and not refused(model)
    products = [node for node in model.graph if node.op_type == "MatMul" and node.name in beyond]
    assert len(products) == 2
    for node in products:
        assert {value.producer().op_type for value in node.inputs} == {"DequantizeLinear"}
    found = run_graph(model, feeds)["logits"]
    np.testing.assert_allclose(found, wanted, atol=0.2 * np.sqrt(np.mean(wanted**2)))
