"""`bvx export --target tensorrt` in one go: through NVIDIA's own builder, or a sentence where there is none."""

from __future__ import annotations

import json

import pytest

from bvx.exporter import building
from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import EngineBuildError

SHAPE = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128, "num_hidden_layers": 2}


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint, tmp_path_factory):
    return tiny_checkpoint("bert", "text-classification", tmp_path_factory.mktemp("model") / "tiny", **SHAPE)


@pytest.fixture
def no_builder(monkeypatch):
    monkeypatch.setattr(building, "choose_builder", lambda: None)


def test_plans_are_built_audited_and_put_into_the_bundle(bvx, checkpoint, tmp_path, monkeypatch):
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx, NVIDIA's builder, is not installed")
    monkeypatch.setenv("BVX_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "tiny.bvx"
    words = ("export", checkpoint, "--target", "cpu,tensorrt", "--profile", "1x1:2x8:4x16")
    done = bvx(*words, "--precision", "fp32,fp16", "--out", out, "--json")
    assert done.code == 0, done.err
    made = {one["variant"]: one for one in done.document["engines"]}
    assert set(made) == {"fp32/tensorrt", "fp16/tensorrt"}
    assert made["fp16/tensorrt"]["audit"]["attentions_fused"] == 2 and "layers" not in made["fp16/tensorrt"]["audit"]
    bundle = Bundle.open(out)
    assert {engine.variant: engine.file for engine in bundle.manifest.engines} == {
        name: one["file"] for name, one in made.items()
    }
    assert all(bundle.path(engine.file).stat().st_size == engine.bytes for engine in bundle.manifest.engines)
    assert bundle.manifest.engines[0].profiles[0].max == (4, 16)
    assert not (tmp_path / "cache").exists(), "what is inside needs no cache"
    shown = bvx("export", checkpoint, "--target", "tensorrt", "--out", out, "--overwrite", "--profile", "1x1:2x8:4x16")
    assert shown.code == 0 and "Engines inside, built by tensorrt-rtx" in shown.out


def test_without_a_builder_the_bundle_is_made_and_a_sentence_says_what_to_type(bvx, checkpoint, tmp_path, no_builder):
    out = tmp_path / "tiny.bvx"
    done = bvx("export", checkpoint, "--target", "tensorrt", "--out", out)
    assert done.code == 0
    assert f"Warning: No engine was built for the bundle in {out}" in done.err
    assert f"`bvx build {out} --engine tensorrt`" in done.err
    assert not Bundle.open(out).manifest.engines


def test_no_build_says_and_builds_nothing_and_build_insists(bvx, checkpoint, tmp_path, no_builder):
    out = tmp_path / "tiny.bvx"
    done = bvx("export", checkpoint, "--target", "tensorrt", "--out", out, "--no-build")
    assert done.code == 0 and "engine was built" not in done.err
    done = bvx("export", checkpoint, "--target", "tensorrt", "--out", out, "--overwrite", "--build")
    assert done.code == 1 and f"`bvx build {out} --engine tensorrt`" in done.err
    assert Bundle.open(out).manifest.variants
    done = bvx("export", checkpoint, "--out", tmp_path / "other.bvx", "--build")
    assert done.code == 2 and "--build makes plans for the target tensorrt" in done.err
    assert not (tmp_path / "other.bvx").exists()


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_build_that_fails_keeps_the_bundle_and_says_how_to_go_on(bvx, checkpoint, tmp_path, monkeypatch, words):
    def fail(*_, **__):
        raise EngineBuildError("The label is not true.", "Leave this precision out.")

    monkeypatch.setattr(building, "choose_builder", lambda: "tensorrt-rtx")
    monkeypatch.setattr(building, "build_engines", fail)
    out = tmp_path / "tiny.bvx"
    done = bvx("export", checkpoint, "--target", "tensorrt", "--out", out, *words)
    assert done.code == 1
    for part in (f"The bundle in {out} is proven and whole", "label is not true", f"`bvx build {out} --engine"):
        assert part in done.err
    bundle = Bundle.open(out)
    assert not bundle.manifest.engines and bundle.manifest.parity
    if words:
        assert json.loads(done.out)["error"]["kind"] == "EngineBuildError"


def test_ctrl_c_while_engines_are_built_keeps_the_bundle(bvx, checkpoint, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "choose_builder", lambda: "tensorrt-rtx")
    monkeypatch.setattr(building, "build_engines", interrupt)
    out = tmp_path / "tiny.bvx"
    done = bvx("export", checkpoint, "--target", "tensorrt", "--out", out)
    assert done.code == 130 and f"the bundle in {out} is whole, without engines" in done.err
    assert Bundle.open(out).manifest.variants


def test_the_builder_is_the_one_that_can_work_here(fake_cuda, fake_trt, monkeypatch):
    fake_trt("11.4.0.106")
    fake_cuda()
    assert building.choose_builder() == "tensorrt"
    fake_cuda(devices=0)
    fake_trt("rtx-1.7.1.116")
    assert building.choose_builder() == "tensorrt-rtx"
