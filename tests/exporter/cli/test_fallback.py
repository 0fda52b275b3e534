"""A bundle made for a GPU, on a machine without one: the command line says what it does instead, or refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bvx.exporter.bench.contenders import find_contenders
from bvx.exporter.bench.plan import BenchPlan
from bvx.exporter.seal import seal
from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import FallbackWarning
from bvx.runtime.manifest import Variant

INSTEAD = "onnxruntime serves this bundle on cpu instead of tensorrt on tensorrt."


@pytest.fixture
def both(classifier, tmp_path, fake_cuda, fake_trt):
    """A bundle for tensorrt and the processor; TensorRT is installed, and there is no GPU."""
    fake_cuda(devices=0)
    fake_trt("11.4.0.106")
    folder = tmp_path / "both.bvx"
    shutil.copytree(classifier, folder)
    manifest = Bundle.open(folder).manifest
    variant = Variant("fp16", "tensorrt", manifest.variants[0].file, "not-runnable-here")
    tolerances = {**manifest.tolerances, "fp16": manifest.tolerances["fp32"]}
    seal(folder, replace(manifest, variants=(*manifest.variants, variant), tolerances=tolerances))
    return folder


def test_run_answers_on_the_processor_and_warns_once(bvx, both):
    done = bvx("run", both, "a text")
    assert done.code == 0 and done.out
    assert done.err.count(f"Warning: {INSTEAD}") == 1 and "no NVIDIA GPU here" in done.err
    named = bvx("run", both, "a text", "--engine", "onnxruntime")
    assert named.code == 0 and "Warning" not in named.err and named.out == done.out


def test_strict_refuses(bvx, both):
    done = bvx("run", both, "a text", "--strict")
    assert done.code == 1 and not done.out
    assert "only onnxruntime, for cpu, can serve here, which strict forbids" in done.err


def test_verify_leaves_out_what_cannot_run_here_and_says_so(bvx, both):
    done = bvx("verify", both, "--json")
    assert done.code == 0
    assert [report["variant"] for report in done.document["reports"]] == ["fp32/cpu"]
    assert any("fp16/tensorrt was not verified" in warning for warning in done.document["warnings"])
    strict = bvx("verify", both, "--strict")
    assert strict.code == 1 and "no NVIDIA GPU here" in strict.err
    assert bvx("verify", both, "--precision", "fp16").code == 1


def test_bench_names_the_engine_that_will_run_and_strict_leaves_the_bundle_out(both, tmp_path):
    plan = BenchPlan(bundles=(str(both),), precisions=("fp32",))
    (one,) = find_contenders(plan, tmp_path)
    assert (one.tool, one.skipped) == ("onnxruntime", "")
    manifest = Bundle.open(both).manifest
    in_fp32 = tuple(replace(variant, precision="fp32") for variant in manifest.variants)
    seal(Path(both), replace(manifest, variants=in_fp32))
    with pytest.warns(FallbackWarning, match=INSTEAD):
        (one,) = find_contenders(plan, tmp_path)
    assert (one.tool, one.skipped) == ("onnxruntime", "")
    (one,) = find_contenders(replace(plan, strict=True), tmp_path)
    assert "strict forbids" in one.skipped
