"""Every family through NVIDIA's own builder, without a GPU, and what the audit finds in the plans."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from bvx.exporter.families import known_families
from bvx.exporter.progress import Silent
from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.runtime.errors import EngineBuildError
from bvx.runtime.manifest import Profile

OPTIONS = BuildOptions("tensorrt-rtx", (Profile((1, 1), (8, 64), (16, 128)),), gpus=("sm_89",))
LAYERS = 2
MOST_KERNELS = {"fp16": 11, "bf16": 11, "int8": 12, "int8-attention": 11, "fp8": 12}
"""Kernels that a further layer costs, as measured with TensorRT-RTX 1.7.1: more is a regression of the lowering."""

TYPES = {"fp16": "Half", "bf16": "BFloat16", "int8": "Int8", "int8-attention": "Int8", "fp8": "FP8"}


@pytest.mark.parametrize("precision", list(TYPES))
@pytest.mark.parametrize("family", known_families())
def test_a_family_builds_with_its_label_true_attention_fused_and_projections_merged(rtx, onnx_of, family, precision):
    audit = build_plan(onnx_of(family, precision), precision.removesuffix("-attention"), OPTIONS).audit
    assert (audit.fused, audit.merged) == (LAYERS, LAYERS)
    assert audit.kernels_per_layer <= MOST_KERNELS[precision]
    assert set(audit.gemms) == {TYPES[precision]} and audit.gemms[TYPES[precision]] > 6 * LAYERS
    if precision == "int8-attention":
        assert all(layer.inputs[:1] == ("Int8",) for layer in audit.layers if "_gemm_mha" in layer.name)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_attention_taken_apart_is_fused_all_the_same_and_moves_less(rtx, onnx_of, precision):
    whole = build_plan(onnx_of("bert", precision), precision, OPTIONS)
    apart = build_plan(onnx_of("bert", precision, apart=True), precision, OPTIONS)
    assert apart.audit.fused == whole.audit.fused == LAYERS
    assert apart.audit.kernels_per_layer <= 10 < whole.audit.kernels_per_layer
    assert apart.audit.kernels <= whole.audit.kernels - 8
    assert len(apart.data) < len(whole.data)


def test_fp32_is_built_with_attention_taken_apart(rtx, onnx_of):
    audit = build_plan(onnx_of("bert", "fp32", apart=True), "fp32", OPTIONS).audit
    assert set(audit.gemms) == {"Float"} and audit.fused == 0


@pytest.mark.parametrize("label", ["int8", "bf16", "fp32"])
def test_a_label_that_is_not_true_is_refused(rtx, onnx_of, label):
    with pytest.raises(EngineBuildError, match=f"not {label}: wanted .*; it has 14 in Half"):
        build_plan(onnx_of("bert", "fp16"), label, OPTIONS)


def test_a_graph_that_the_rules_refuse_is_not_given_to_the_builder(onnx_of):
    with pytest.raises(EngineBuildError, match=r"attention-in-half.*layer\.0.*take Attention apart") as caught:
        build_plan(onnx_of("bert", "fp32"), "fp32", OPTIONS)
    assert "1 findings more" in str(caught.value)


def test_two_builds_give_the_same_bytes(rtx, onnx_of):
    path = onnx_of("electra", "fp16")
    assert build_plan(path, "fp16", OPTIONS).data == build_plan(path, "fp16", OPTIONS).data


def test_a_plan_of_two_profiles_is_audited_in_each(rtx, onnx_of):
    profiles = (*OPTIONS.profiles, Profile((1, 1), (1, 16), (4, 32)))
    audit = build_plan(onnx_of("bert", "fp16"), "fp16", replace(OPTIONS, profiles=profiles)).audit
    assert {layer.profile for layer in audit.layers} == {0, 1}
    assert (audit.fused, audit.merged) == (LAYERS, LAYERS)


class Watcher(Silent):
    """Keeps the stages and steps; calls `act` at the first step."""

    def __init__(self, act=lambda: None):
        super().__init__()
        self.stages, self.steps, self.act = [], 0, act

    def stage(self, name, total=None):
        self.stages.append((name, total))

    def advance(self, units=1, detail=""):
        self.steps += units
        if units:
            self.act()
            self.act = lambda: None


def test_progress_counts_the_builders_own_steps(rtx, onnx_of):
    watcher = Watcher()
    build_plan(onnx_of("bert", "fp16"), "fp16", OPTIONS, watcher)
    ((name, total),) = watcher.stages
    assert name == "build"
    # The builder leaves out steps that a small graph does not need.
    assert 1 < watcher.steps <= total


def test_an_interruption_ends_the_build_and_its_thread(rtx, onnx_of, monkeypatch):
    """As Ctrl-C does: it is raised where the main thread waits, while NVIDIA's builder is at work."""
    begun = threading.Event()
    join = threading.Thread.join

    def interrupted(self, timeout=None):
        if timeout is not None and begun.wait(20):
            begun.clear()
            raise KeyboardInterrupt
        join(self, timeout)

    path = onnx_of("bert", "fp16")
    monkeypatch.setattr(threading.Thread, "join", interrupted)
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build_plan(path, "fp16", OPTIONS, Watcher(begun.set))
    assert time.monotonic() - before < 60
    assert not any(thread.name == "bvx-build" for thread in threading.enumerate())
