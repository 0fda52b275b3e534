"""The builder under the strict stand-ins of every version: each name, keyword and type is one that it really has."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace

import pytest

from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.exporter.tensorrt.library import open_library
from bvx.runtime.errors import EngineBuildError
from bvx.runtime.manifest import Profile

HALF = [{"Name": "x", "Datatype": "Half"}]
LAYERS = [
    {"Name": "v.MatMul+k.MatMul+q.MatMul_myl0_1", "LayerType": "gemm", "Inputs": HALF, "Outputs": HALF},
    {"Name": "_gemm_mha_v2_myl0_2", "LayerType": "kgen", "Inputs": HALF, "Outputs": HALF},
    {"Name": "_gemm_mha_v2_myl0_3", "LayerType": "kgen", "Inputs": HALF, "Outputs": HALF},
]
LINES = "Engine Layer Information:\n" + "\n".join(
    f"Name: {one['Name']}, LayerType: {one['LayerType']}, Inputs: [ {{ Name: x, Datatype: Half }}], TacticName: "
    for one in LAYERS
)
PROFILE = Profile((1, 16), (8, 64), (16, 128))


@pytest.fixture
def installed(fake_trt, fake_cuda):
    """The bindings of a version, with a GPU for those that need one: installed(surface, behave) -> (module, engine)."""

    def install(surface, behave=None):
        names = iter(["input_ids", "attention_mask", "token_type_ids"] * 4)
        fake_cuda()
        module = fake_trt(
            surface,
            {
                "INetworkDefinition.num_inputs": 3,
                "ITensor.name": lambda tensor: next(names),
                "ITensor.shape": (-1, -1),
                "EngineInspector.get_engine_information": json.dumps({"Layers": LAYERS}),
                **(behave or {}),
            },
        )
        engine = "tensorrt-rtx" if surface.startswith("rtx") else "tensorrt"
        if engine == "tensorrt-rtx" and not behave:
            real = module.Builder

            class Told(real):
                """Its logger hears of the layers, as RTX's does."""

                def __init__(self, logger):
                    real.__init__(self, logger)
                    object.__setattr__(self, "told", logger)

                def build_serialized_network(self, network, config):
                    self.told.log(module.ILogger.Severity.VERBOSE, LINES)
                    return real.build_serialized_network(self, network, config)

            Told.told = None
            module.Builder = Told
        return module, engine

    return install


def test_one_path_builds_under_every_version(surface, installed, onnx_of, tmp_path):
    module, engine = installed(surface)
    options = BuildOptions(engine, (PROFILE,), workspace=2**30)
    if engine == "tensorrt":
        options = replace(options, version_compatible=True, hardware_compatible=True, strip_weights=True)
        options = replace(options, timing_cache=tmp_path / "timing")
    plan = build_plan(onnx_of("bert", "fp16"), "fp16", options)
    assert plan.data == b"fake plan"
    assert plan.version == module.__version__
    assert plan.audit.fused == 2
    calls = dict(module.calls)
    assert calls["IBuilderConfig.clear_flag"] == {"flag": module.BuilderFlag.TF32}
    assert calls["IOptimizationProfile.set_shape"]["max"] == (16, 128)
    if engine == "tensorrt":
        assert plan.gpus == ("sm_89",)
        assert plan.compatible == ("version", "hardware")
        assert (tmp_path / "timing").exists()
    else:
        assert plan.gpus == ("sm_80", "sm_86", "sm_89", "sm_120")
        asked = [given["index"] for name, given in module.calls if name == "IBuilderConfig.set_compute_capability"]
        assert asked == [0, 1, 2, 3]


def test_a_wrong_name_would_be_noticed(surface, installed):
    module, _ = installed(surface)
    with pytest.raises(AttributeError):
        _ = module.BuilderFlag.FP16_EVERYWHERE
    with pytest.raises(TypeError):
        module.Builder(logger="none")


def test_the_parsers_words_are_passed_on(surface, installed, onnx_of):
    words = {"OnnxParser.parse_from_file": False, "OnnxParser.num_errors": 1, "ParserError.desc": "no importer for Foo"}
    module, engine = installed(surface, words)
    words["OnnxParser.get_error"] = lambda parser, index: module.ParserError.__new__(module.ParserError)
    installed(surface, words)
    with pytest.raises(EngineBuildError, match=r"cannot build bert\.fp16\.onnx: no importer for Foo"):
        build_plan(onnx_of("bert", "fp16"), "fp16", BuildOptions(engine, (PROFILE,)))


def test_a_build_that_gives_nothing_is_refused(surface, installed, onnx_of):
    _, engine = installed(surface, {"Builder.build_serialized_network": None})
    with pytest.raises(EngineBuildError, match="cannot build"):
        build_plan(onnx_of("bert", "fp16"), "fp16", BuildOptions(engine, (PROFILE,)))


def test_an_engine_that_is_not_what_it_is_called_is_refused(surface, installed, onnx_of):
    _, engine = installed(surface, {"EngineInspector.get_engine_information": '{"Layers": []}'})
    with pytest.raises(EngineBuildError, match="label cannot be proven"):
        build_plan(onnx_of("bert", "fp16"), "fp16", BuildOptions(engine, (PROFILE,)))


def test_without_a_gpu_tensorrt_is_never_imported(fake_cuda, monkeypatch):
    fake_cuda(devices=0)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineBuildError, match=r"no NVIDIA GPU here.*--engine tensorrt-rtx.*sm_80"):
        open_library("tensorrt")


@pytest.mark.parametrize("version", ["10.2.0", "8.6.1.6", "unknown"])
def test_a_version_without_the_names_that_are_used_is_refused(fake_cuda, fake_trt, version):
    fake_cuda()
    fake_trt("10.16.1.11").__version__ = version
    with pytest.raises(EngineBuildError, match=f"tensorrt is {re.escape(version)}; bvx builds with 10.3 and later"):
        open_library("tensorrt")


def test_a_missing_library_says_what_to_install(fake_cuda, monkeypatch):
    fake_cuda()
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineBuildError, match=r"pip install bvx\[tensorrt-rtx\]"):
        open_library("tensorrt-rtx")
