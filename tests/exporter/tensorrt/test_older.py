"""TensorRT before 10.14, as on Jetson: attention is taken apart for it, under the names that it has."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import onnx_ir as ir
import pytest

from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.exporter.tensorrt import older as older_module
from bvx.exporter.tensorrt.older import readable
from bvx.runtime.errors import EngineBuildError
from bvx.runtime.manifest import Profile

PROFILE = Profile((1, 16), (8, 64), (16, 128))
HALF = [{"Name": "x", "Datatype": "Half"}]
NAMES = ("v.MatMul+k.MatMul+q.MatMul_myl0_1", "_gemm_mha_v2_myl0_2", "_gemm_mha_v2_myl0_3")
LAYERS = [
    {"Name": name, "LayerType": kind, "Inputs": HALF, "Outputs": HALF}
    for name, kind in zip(NAMES, ("gemm", "kgen", "kgen"), strict=True)
]


def operators(path):
    return Counter(node.op_type for node in ir.load(path).graph)


@pytest.fixture(params=["10.3.0", "10.13.3.9"])
def older(request, fake_trt, fake_cuda):
    """The bindings of an older version, which keep what they are given to parse in `module.parsed`."""
    names = iter(["input_ids", "attention_mask", "token_type_ids"] * 4)
    seen = []
    fake_cuda()

    def parse(parser, model):
        seen.append((Path(model), operators(model)))
        return True

    module = fake_trt(
        request.param,
        {
            "OnnxParser.parse_from_file": parse,
            "INetworkDefinition.num_inputs": 3,
            "ITensor.name": lambda tensor: next(names),
            "ITensor.shape": (-1, -1),
            "EngineInspector.get_engine_information": json.dumps({"Layers": LAYERS}),
        },
    )
    module.parsed = seen
    return module


def test_an_older_parser_is_given_products_and_a_softmax(older, onnx_of, tmp_path):
    path = onnx_of("bert", "fp16")
    before = path.read_bytes()
    options = BuildOptions("tensorrt", (PROFILE,), version_compatible=True, timing_cache=tmp_path / "timing")
    plan = build_plan(path, "fp16", options)
    ((given, found),) = older.parsed
    assert found["Attention"] == 0 and found["Softmax"] == 2
    assert plan.version == older.__version__ and plan.audit.attentions == 2
    assert path.read_bytes() == before and not given.exists()


def test_an_attention_that_cannot_be_taken_apart_is_refused_by_its_rule(older, onnx_of):
    path = onnx_of("bert", "fp16")
    model = ir.load(path)
    for node in model.graph:
        if node.op_type == "Attention":
            node.inputs[0].shape = None
    ir.save(model, path)
    with pytest.raises(EngineBuildError, match=r"attention-since-10\.14.*cannot read Attention"):
        build_plan(path, "fp16", BuildOptions("tensorrt", (PROFILE,)))
    assert not older.parsed


def test_a_parser_that_reads_attention_is_given_the_file_itself(onnx_of):
    path = onnx_of("bert", "fp16")
    with readable(path, ir.load(path), (10, 14)) as given:
        assert given == path


def test_a_large_graph_keeps_its_weights_beside_it(onnx_of, monkeypatch):
    monkeypatch.setattr(older_module, "EXTERNAL_BEYOND", 1000)
    path = onnx_of("bert", "fp16")
    with readable(path, ir.load(path), (10, 13)) as given:
        assert (given.parent / f"{path.name}_data").exists()
        assert operators(given)["Softmax"] == 2


@pytest.mark.parametrize(("family", "precision"), [("albert", "fp16"), ("roberta", "int8"), ("electra", "bf16")])
def test_what_an_older_parser_is_given_becomes_an_engine_that_keeps_its_label(rtx, onnx_of, family, precision):
    path = onnx_of(family, precision)
    with readable(path, ir.load(path), (10, 3)) as given:
        audit = build_plan(given, precision, BuildOptions("tensorrt-rtx", (PROFILE,), gpus=("sm_89",))).audit
    assert (audit.fused, audit.merged) == (2, 2)
