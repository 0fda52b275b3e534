"""`bvx build`: from a bundle alone to plans in the cache or in a new bundle, through NVIDIA's own builder."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import pytest

from bvx.exporter.cli import main
from bvx.exporter.engines import BuildRequest, build_engines
from bvx.exporter.seal import seal
from bvx.exporter.targets.half import FP16, narrow
from bvx.runtime.bundle import Bundle
from bvx.runtime.cache import find_engines
from bvx.runtime.errors import BundleError, EngineBuildError, PlanError
from bvx.runtime.manifest import Variant

SHAPE = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}


@pytest.fixture(scope="module")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx, NVIDIA's builder, is not installed")


@pytest.fixture(scope="module")
def original(captured, exported, tmp_path_factory):
    """A bundle with a variant for tensorrt in fp16, whose two heads are 32 wide."""
    folder = tmp_path_factory.mktemp("build") / "tiny model.bvx"
    bundle = Bundle.open(exported("bert", "text-classification").bundle)
    shutil.copytree(bundle.root, folder)
    graph, _ = captured("bert", "text-classification", **SHAPE).canonical()
    narrow(graph, FP16)
    (folder / "onnx/tensorrt").mkdir()
    ir.save(graph, folder / "onnx/tensorrt/fp16.onnx")
    variant = Variant("fp16", "tensorrt", "onnx/tensorrt/fp16.onnx", "not-runnable-here")
    seal(folder, replace(bundle.manifest, variants=(*bundle.manifest.variants, variant)))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BVX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_plan_goes_to_the_cache_with_what_the_audit_found(rtx, original):
    document = build_engines(BuildRequest(str(original), "tensorrt-rtx", gpus="sm_89"))
    ((engine, path),) = find_engines(Bundle.open(original))
    assert document["engines"][0]["file"] == str(path)
    assert (engine.variant, engine.engine, engine.gpus) == ("fp16/tensorrt", "tensorrt-rtx", ("sm_89",))
    assert engine.bytes == path.stat().st_size
    assert engine.audit["attentions_fused"] == engine.audit["qkv_merged"] == 2
    assert any(layer["kind"] == "gemm" for layer in engine.audit["layers"])
    assert all(profile.max[1] <= Bundle.open(original).manifest.max_length for profile in engine.profiles)
    assert json.dumps(document)


def test_engines_are_shown_layer_by_layer(rtx, original, capsys):
    assert main(["inspect", str(original), "--engine"]) == 0
    assert "has no engine" in capsys.readouterr().out
    build_engines(BuildRequest(str(original), "tensorrt-rtx", gpus="sm_89"))
    assert main(["inspect", str(original), "--engine"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("_gemm_mha") == 2 and "fp16/tensorrt" in shown


def test_embedded_plans_make_a_new_sealed_bundle_and_leave_the_old_one_alone(rtx, original, tmp_path):
    before = (original / "bvx.json").read_bytes()
    out = tmp_path / "built.bvx"
    build_engines(BuildRequest(str(original), "tensorrt-rtx", profiles=("1x1:2x16:4x32",), gpus="sm_89", out=out))
    assert (original / "bvx.json").read_bytes() == before
    bundle = Bundle.open(out)
    (engine,) = bundle.manifest.engines
    assert bundle.path(engine.file).stat().st_size == engine.bytes
    assert engine.profiles[0].opt == (2, 16)
    assert bundle.manifest.variants == Bundle.open(original).manifest.variants
    with pytest.raises(BundleError, match="There is a bundle"):
        build_engines(BuildRequest(str(original), "tensorrt-rtx", out=out))


def test_the_command_builds_and_shows_what_it_found(rtx, original, capsys):
    assert main(["build", str(original), "--engine", "tensorrt-rtx", "--gpu", "sm_89", "-q"]) == 0
    said = capsys.readouterr().out
    for words in ("fp16/tensorrt", "sm_89", "2/2", "14 Half", ".plan"):
        assert words in said


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"precision": "int8"}, BundleError, r"has no int8/tensorrt\. It has: fp32/cpu, fp16/tensorrt"),
        ({"profiles": ("1x1:1x8:1x4096",)}, PlanError, "reaches to 4096 tokens"),
        ({"profiles": ("1x8:1x4:1x16",)}, PlanError, "length goes 8, 4, 16"),
        ({"gpus": "sm_90"}, PlanError, "does not build for sm_90"),
        ({"engine": "tensorflow"}, PlanError, "no builder called"),
    ],
)
def test_what_cannot_be_built_is_refused_first(original, cache, change, error, words):
    with pytest.raises(error, match=words):
        build_engines(BuildRequest(str(original), **({"engine": "tensorrt-rtx"} | change)))
    assert not cache.exists()


def test_a_bundle_without_a_variant_for_tensorrt_is_refused(exported):
    bundle = exported("bert", "text-classification").bundle
    with pytest.raises(BundleError, match=r"has no variant for tensorrt.*--target tensorrt"):
        build_engines(BuildRequest(str(bundle), "tensorrt-rtx"))


def test_tensorrt_without_a_gpu_says_what_can_be_built_here(original, fake_cuda, monkeypatch):
    fake_cuda(devices=0)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineBuildError, match=r"no NVIDIA GPU here.*--engine tensorrt-rtx"):
        build_engines(BuildRequest(str(original), "tensorrt"))


def test_a_failed_build_leaves_no_bundle(rtx, original, tmp_path, monkeypatch):
    from bvx.exporter import engines

    def fail(*_, **__):
        raise EngineBuildError("The label is not true.")

    monkeypatch.setattr(engines, "build_plan", fail)
    out = tmp_path / "built.bvx"
    with pytest.raises(EngineBuildError):
        build_engines(BuildRequest(str(original), "tensorrt-rtx", out=out))
    assert not out.exists() and [Path(one) for one in tmp_path.glob("*built*")] == []
