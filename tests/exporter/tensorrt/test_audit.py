"""What the audit reads out of layers, and which labels it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import onnx_ir as ir
import pytest

from bvx.exporter.tensorrt import Expectation, Layer, audit_layers, expect
from bvx.exporter.tensorrt.layers import read_inspector, read_log
from bvx.runtime.errors import EngineBuildError

HALF = ("Half",)
ATTENTION = Layer("_gemm_mha_v2_myl0_3", "kgen", ("Half", "Half", "Half"), (), HALF)
MERGED = Layer("value.MatMul_U1+key.MatMul_U2+query.MatMul_U3_myl0_1", "gemm", HALF, HALF, HALF)
MOVE = Layer("__myl_AddReshTranReshMove_myl0_2", "kgen", HALF, HALF, HALF)
DENSE = Layer("dense.MatMul_U4_myl0_4", "gemm", HALF, HALF, HALF)
FUSED = Layer("__myl_FcAddTanh_myl0_5", "runtime_fusion", HALF, HALF, HALF)
SHAPES = Layer("__mye8031_0_myl0_0", "shape_call", (), (), ())
ENGINE = (SHAPES, MERGED, MOVE, ATTENTION, DENSE, FUSED)
LABEL = Expectation("fp16", 1, 5, 0)

LINE = (
    "Name: a.MatMul_U1+b.MatMul_U2_myl1_7, LayerType: gemm, Inputs: [ { Name: x[0], Dimensions: [-1,64], "
    "Strides: [64,1], StrideOrder: [1,0], Datatype: Int8, Format: (Linear) Row major linear format }], "
    "Constants: [ { Name: c, Dimensions: [64,64], Datatype: Int8, Format: (Linear) }, "
    "{ Name: d, Dimensions: [1], Datatype: Half, Format: (L) }], "
    "Outputs: [ { Name: y, Dimensions: [-1,192], Datatype: Half, Format: (Linear) }], TacticName: sm80_xmma"
)


def test_a_line_of_the_log_becomes_a_layer_with_its_types_and_profile():
    (layer,) = read_log(["Engine Layer Information:", LINE])
    name = "a.MatMul_U1+b.MatMul_U2_myl1_7"
    assert layer == Layer(name, "gemm", ("Int8",), ("Int8", "Half"), HALF, profile=1)


def test_the_inspectors_document_says_the_same():
    tensors = {"Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP16 Half"}], "Outputs": []}
    text = json.dumps({"Layers": [{"Name": "g_myl0_1", "LayerType": "gemm", **tensors}, "only a name"]})
    assert read_inspector(text) == (Layer("g_myl0_1", "gemm", HALF, (), ()),)


def test_kernels_gemms_and_fusions_are_counted():
    audit = audit_layers(ENGINE, LABEL)
    assert (audit.kernels, audit.fused, audit.merged) == (5, 1, 1)
    assert audit.gemms == {"Half": 5}
    document = audit.to_dict()
    assert json.loads(json.dumps(document)) == document
    assert len(document["layers"]) == 6


def test_what_a_further_layer_costs_is_counted_from_attention_to_attention():
    second = [replace(layer, name=f"{layer.name}1") for layer in ENGINE[1:]]
    assert audit_layers([*ENGINE, *second], Expectation("fp16", 2, 10, 0)).kernels_per_layer == 5


@pytest.mark.parametrize(
    ("layers", "expected", "words"),
    [
        (ENGINE[:3], LABEL, "0 of 1 attentions"),
        (ENGINE, replace(LABEL, precision="bf16"), "every linear layer in BFloat16; it has 5 in Half"),
        (ENGINE, replace(LABEL, precision="int8", quantised=4), "4 linear layers in Int8; it has 5 in Half"),
        (ENGINE, replace(LABEL, precision="fp8"), "1 linear layers in FP8"),
        ((), LABEL, "did not say what layers"),
        ([SHAPES, ATTENTION], LABEL, "no linear layer at all"),
    ],
)
def test_a_label_that_is_not_true_is_refused(layers, expected, words):
    with pytest.raises(EngineBuildError, match=words):
        audit_layers(layers, expected)


def test_a_fusion_that_casts_int8_before_the_product_does_not_count_as_int8():
    dequantised = Layer("__myl_CastMulCastMulCastFc_myl0_2", "runtime_fusion", ("Int8",), ("Int8",), HALF)
    with pytest.raises(EngineBuildError, match="1 in Half"):
        audit_layers([ATTENTION, dequantised], Expectation("int8", 1, 1, 1))


def test_one_profile_of_several_is_enough_to_be_refused():
    other = [
        replace(layer, name=layer.name.replace("myl0", "myl1"), profile=1)
        for layer in ENGINE
        if "mha" not in layer.name
    ]
    with pytest.raises(EngineBuildError, match="0 of 1"):
        audit_layers([*ENGINE, *other], LABEL)


def test_what_is_expected_is_counted_in_the_graph(onnx_of):
    assert expect(ir.load(onnx_of("roberta", "fp16")), "fp16") == Expectation("fp16", 2, 14, 0)
    found = expect(ir.load(onnx_of("bert", "int8")), "int8")
    assert (found.attentions, found.linears, found.quantised) == (2, 14, 14)
