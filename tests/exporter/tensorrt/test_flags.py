"""Each option of a build reaches the builder under every data-centre version, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.runtime.errors import EngineBuildError
from bvx.runtime.manifest import Profile

HALF = [{"Name": "x", "Datatype": "Half"}]
LAYERS = [
    {"Name": name, "LayerType": kind, "Inputs": HALF, "Outputs": HALF}
    for name, kind in (("a.MatMul_myl0_1", "gemm"), ("_gemm_mha_v2_myl0_2", "kgen"), ("_gemm_mha_v2_myl0_3", "kgen"))
]
PLAIN = BuildOptions("tensorrt", (Profile((1, 16), (8, 64), (16, 128)),))


@pytest.fixture(params=["10.3.0", "10.16.1.11", "11.0.0.114", "11.4.0.106"])
def built(request, fake_trt, fake_cuda, onnx_of):
    """What a build writes to the builder's configuration: built(**options, behave={…}) -> (module, calls)."""

    def build(behave=None, **options):
        names = iter(["input_ids", "attention_mask", "token_type_ids"] * 4)
        fake_cuda()
        module = fake_trt(
            request.param,
            {
                "INetworkDefinition.num_inputs": 3,
                "ITensor.name": lambda tensor: next(names),
                "ITensor.shape": (-1, -1),
                "EngineInspector.get_engine_information": json.dumps({"Layers": LAYERS}),
                **(behave or {}),
            },
        )
        build_plan(onnx_of("bert", "fp16"), "fp16", replace(PLAIN, **options))
        return module, [(name.removeprefix("IBuilderConfig."), given) for name, given in module.calls]

    return build


def flags(calls):
    return {given["flag"].name for name, given in calls if name == "set_flag"}


def test_a_plain_build_sets_no_flag_and_clears_tf32(built):
    _, calls = built()
    assert flags(calls) == set()
    assert [given["flag"].name for name, given in calls if name == "clear_flag"] == ["TF32"]
    assert dict(calls)["builder_optimization_level"] == 3
    assert dict(calls)["profiling_verbosity"].name == "DETAILED"
    names = {name for name, _ in calls}
    assert not names & {"hardware_compatibility_level", "set_memory_pool_limit", "create_timing_cache"}
    assert "progress_monitor" in names


def test_the_network_is_strongly_typed(built):
    module, calls = built()
    bit = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert dict(calls)["Builder.create_network"] == {"flags": bit}


@pytest.mark.parametrize(
    ("option", "flag"),
    [("tf32", "TF32"), ("version_compatible", "VERSION_COMPATIBLE"), ("strip_weights", "STRIP_PLAN")],
)
def test_an_option_sets_its_flag_alone(built, option, flag):
    _, calls = built(**{option: True})
    assert flags(calls) == {flag}


def test_hardware_compatible_is_from_ampere_on(built):
    _, calls = built(hardware_compatible=True)
    assert dict(calls)["hardware_compatibility_level"].name == "AMPERE_PLUS"


def test_level_and_workspace_are_passed_on(built):
    _, calls = built(optimization_level=5, workspace=2**28)
    assert dict(calls)["builder_optimization_level"] == 5
    limit = dict(calls)["set_memory_pool_limit"]
    assert (limit["pool"].name, limit["pool_size"]) == ("WORKSPACE", 2**28)


def test_timings_are_read_and_written(built, tmp_path):
    path = tmp_path / "timing"
    path.write_bytes(b"earlier timings")
    _, calls = built(timing_cache=path)
    assert [given for name, given in calls if name == "create_timing_cache"] == [
        {"serialized_timing_cache": b"earlier timings"}
    ]
    assert path.read_bytes() == b"fake plan"


def test_timings_of_another_version_or_gpu_begin_anew(built, tmp_path):
    path = tmp_path / "timing"
    path.write_bytes(b"of another GPU")
    answers = iter([False, True])
    _, calls = built({"IBuilderConfig.set_timing_cache": lambda *_, **__: next(answers)}, timing_cache=path)
    begun = [given["serialized_timing_cache"] for name, given in calls if name == "create_timing_cache"]
    assert begun == [b"of another GPU", b""]
    assert path.read_bytes() == b"fake plan"


def test_a_failed_build_leaves_the_timings_as_they_were(built, tmp_path):
    path = tmp_path / "timing"
    path.write_bytes(b"earlier timings")
    with pytest.raises(EngineBuildError):
        built({"Builder.build_serialized_network": None}, timing_cache=path)
    assert path.read_bytes() == b"earlier timings"
