"""fp16 and bf16: strongly typed, weights once, inputs and outputs as they were."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.exporter.families import known_families
from bvx.exporter.targets.half import BF16, FP16, narrow

FAMILIES = sorted(known_families())
KINDS = [FP16, BF16]
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)


@pytest.fixture(params=FAMILIES)
def canonical(request, captured) -> ir.Model:
    return captured(request.param, "fill-mask").canonical()[0]


def float_types(node: ir.Node) -> set[ir.DataType]:
    return {value.dtype for value in (*node.inputs, *node.outputs) if value is not None and value.dtype in FLOATS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_operator_mixes_types_and_the_graph_is_valid(canonical, kind):
    narrow(canonical, kind)
    onnx.checker.check_model(ir.to_proto(canonical), full_check=True)
    for node in canonical.graph:
        if node.op_type != "Cast":
            assert float_types(node) <= {kind.dtype}, node.name


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_inputs_and_outputs_keep_their_names_types_and_shapes(canonical, kind):
    before = [(value.name, value.dtype, value.shape) for value in (*canonical.graph.inputs, *canonical.graph.outputs)]
    narrow(canonical, kind)
    after = [(value.name, value.dtype, value.shape) for value in (*canonical.graph.inputs, *canonical.graph.outputs)]
    assert after == before


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_only_casts_are_the_masks_and_the_outputs(canonical, kind):
    before = sum(node.op_type == "Cast" for node in canonical.graph)
    narrow(canonical, kind)
    after = sum(node.op_type == "Cast" for node in canonical.graph)
    assert after == before + len(canonical.graph.outputs)


def test_attention_and_layer_normalization_stay_operators_and_the_mask_stays_bool(canonical):
    count = [node.op_type for node in canonical.graph]
    narrow(canonical, FP16)
    assert [node.op_type for node in canonical.graph if node.op_type != "Cast"] == [op for op in count if op != "Cast"]
    for node in canonical.graph:
        if node.op_type == "Attention":
            assert node.inputs[3].dtype == ir.DataType.BOOL
            # TensorRT's parser refuses the attribute.
            assert "softmax_precision" not in node.attributes
        if node.op_type == "LayerNormalization":
            assert node.attributes.get_int("stash_type") == 1 and node.attributes.get_float("epsilon") > 0


def test_every_weight_is_stored_once_under_its_name_in_half_the_bytes(canonical, copies, stored_floats):
    before = {name: value.const_value.numpy() for name, value in canonical.graph.initializers.items()}
    bytes_before = stored_floats(canonical)
    narrow(canonical, FP16)
    assert list(canonical.graph.initializers) == list(before) and not copies(canonical)
    assert stored_floats(canonical) * 2 == bytes_before
    for name, value in canonical.graph.initializers.items():
        wanted = before[name].astype(np.float16) if before[name].dtype == np.float32 else before[name]
        np.testing.assert_array_equal(value.const_value.numpy(), wanted)


def test_bf16_rounds_to_the_nearest():
    narrow(model := one_linear(np.array([[1.0 + 2**-8 + 2**-12]], np.float32)), BF16)
    stored = model.graph.initializers["w"].const_value.numpy()
    assert stored.dtype == ml_dtypes.bfloat16 and float(stored[0, 0]) == 1.0 + 2**-7


@pytest.mark.parametrize("family", FAMILIES)
def test_fp16_says_what_fp32_said(family, captured, run_graph):
    one = captured(family, "text-classification")
    model, _ = one.canonical()
    feeds = one.feeds(4, 13)
    wanted = run_graph(model, feeds)["logits"]
    narrow(model, FP16)
    found = run_graph(model, feeds)["logits"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=5e-3 * np.sqrt(np.mean(wanted**2)))


def test_hidden_states_that_others_read_leave_as_float32_too(tiny_model, capture_of, run_graph):
    one = capture_of(tiny_model("albert", "feature-extraction", num_hidden_layers=2), "albert", "feature-extraction", 3)
    model, _ = one.canonical()
    narrow(model, FP16)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = run_graph(model, one.feeds(2, 7))
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}


def one_linear(weight: np.ndarray, body: str = "y = MatMul(x, w)") -> ir.Model:
    n, m = weight.shape
    text = f'<ir_version: 10, opset_import: ["": 23]> t (float[b, {n}] x) => (float[b, {m}] y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for index, node in enumerate(model.graph):
        node.name = f"{node.op_type}.{index}"
    return model


def test_a_kept_operator_stands_between_casts_and_reads_its_own_weight_in_float32():
    weight = np.eye(3, dtype=np.float32) * 7e4
    model = one_linear(weight, "t = Tanh(x) u = MatMul(t, w) y = Tanh(u)")
    narrow(model, FP16, ["MatMul.1"])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [node.op_type for node in model.graph] == ["Cast", "Tanh", "Cast", "MatMul", "Cast", "Tanh", "Cast"]
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), weight)


def test_a_weight_that_both_types_read_is_stored_once_and_cast():
    model = one_linear(np.eye(3, dtype=np.float32), "t = MatMul(x, w) y = MatMul(t, w)")
    narrow(model, FP16, ["MatMul.1"])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert list(model.graph.initializers) == ["w"]
    assert model.graph.initializers["w"].dtype == ir.DataType.FLOAT16
    kept = next(node for node in model.graph if node.name == "MatMul.1")
    assert kept.inputs[1].producer().op_type == "Cast"


def test_a_value_that_many_read_in_the_other_type_is_cast_once():
    body = "t = Tanh(x) a = MatMul(t, w) b = MatMul(t, w) y = Add(a, b)"
    model = one_linear(np.eye(3, dtype=np.float32), body)
    narrow(model, FP16, ["MatMul.1", "MatMul.2", "Add.3"])
    assert [node.op_type for node in model.graph].count("Cast") == 2


QUANTISED = """
    q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)
    w = DequantizeLinear<axis = 1>(W, S, Z) t = MatMul(d, w) u = MatMul(d, w) y = Add(t, u)
"""


def quantised(scale: float) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["": 23]> t (float[b, 2] x) => (float[b, 2] y) {{ {QUANTISED} }}'
    proto = onnx.parser.parse_model(text)
    weights = {
        "s": np.float32(scale),
        "z": np.int8(0),
        "W": np.array([[100, 3], [-7, 90]], np.int8),
        "S": np.full(2, 0.01, np.float32),
        "Z": np.zeros(2, np.int8),
    }
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(w), name) for name, w in weights.items())
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for index, node in enumerate(model.graph):
        node.name = f"{node.op_type}.{index}"
    return model


def test_quantisation_nodes_take_scales_of_the_graphs_type():
    model = quantised(0.05)
    narrow(model, FP16)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert {model.graph.initializers[name].dtype for name in "sS"} == {ir.DataType.FLOAT16}
    assert {model.graph.initializers[name].dtype for name in "WzZ"} == {ir.DataType.INT8}


def test_a_kept_product_has_dequantizers_of_its_own_and_no_cast_before_them(run_graph):
    model, x = quantised(0.05), {"x": np.array([[0.5, -1.25]], np.float32)}
    wanted = run_graph(model, x)["y"]
    narrow(model, FP16, ["MatMul.3", "Add.5"])
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    kept = next(node for node in model.graph if node.name == "MatMul.3")
    other = next(node for node in model.graph if node.name == "MatMul.4")
    for node, dtype in ((kept, ir.DataType.FLOAT), (other, ir.DataType.FLOAT16)):
        for value in node.inputs:
            assert value.producer().op_type == "DequantizeLinear" and value.dtype == dtype
            assert value.producer().inputs[1].dtype == dtype and value.producer().inputs[1].is_initializer()
    assert [name for name in model.graph.initializers if model.graph.initializers[name].dtype == ir.DataType.INT8] == [
        "z",
        "W",
        "Z",
    ], "the int8 weight was stored twice"
    np.testing.assert_allclose(run_graph(model, x)["y"], wanted, atol=1e-2)


def test_a_scale_that_fp16_cannot_hold_leaves_its_nodes_in_float32_and_says_so(run_graph):
    model, x = quantised(1e-9), {"x": np.array([[5e-8, -1e-7]], np.float32)}
    wanted = run_graph(model, x)["y"]
    log = narrow(model, FP16)
    assert log.refusals == {"a quantisation scale is beyond what fp16 holds": 2}
    assert model.graph.initializers["s"].dtype == ir.DataType.FLOAT
    np.testing.assert_allclose(run_graph(model, x)["y"], wanted, atol=1e-7)
