"""Which engine `auto` takes: the GPU's where it can serve, else the processor's, and never without saying so."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace

import pytest

import bvx
import bvx.runtime.engines
from bvx.runtime.engines import find_engine, list_candidates
from bvx.runtime.errors import BundleError, EngineMismatch, FallbackWarning, ParityFailed
from bvx.runtime.loading import load

from .conftest import ON_CPU, VARIANT

BOTH = (ON_CPU, VARIANT)


@pytest.fixture
def uninstalled(monkeypatch):
    """Makes libraries seem absent: uninstalled("tensorrt", …)."""
    real = bvx.runtime.engines.find_spec

    def hide(*names):
        monkeypatch.setattr(bvx.runtime.engines, "find_spec", lambda name: None if name in names else real(name))

    return hide


def load_quietly(made, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(made.bundle.path, threads=1, **options)


def test_a_bundle_for_both_is_served_by_the_gpu_where_there_is_one(surface, machine):
    made = machine(surface, variants=BOTH)
    with load_quietly(made, strict=True) as model:
        assert (model.engine.name, model.variant.key) == (made.engine, "fp16/tensorrt")


def test_a_precision_that_only_the_processor_has_is_no_fallback(machine):
    made = machine(variants=BOTH)
    with load_quietly(made, precision="fp32", strict=True) as model:
        assert model.engine.name == "onnxruntime"


def test_an_engine_that_is_named_is_taken_without_a_word(machine):
    made = machine(variants=BOTH, devices=0)
    with load_quietly(made, engine="onnxruntime", strict=True) as model:
        assert model.variant.key == "fp32/cpu"
    with pytest.raises(EngineMismatch, match="no NVIDIA GPU"):
        load_quietly(made, engine="tensorrt")


def no_gpu(machine, uninstalled, monkeypatch):
    return machine(variants=BOTH, devices=0)


def no_driver(machine, uninstalled, monkeypatch):
    made = machine(variants=BOTH)
    made.cuda.cudaGetDeviceCount = lambda: (made.cuda.cudaError_t(100), 0)
    return made


def no_cuda_bindings(machine, uninstalled, monkeypatch):
    made = machine(variants=BOTH)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    return made


def no_engine(machine, uninstalled, monkeypatch):
    made = machine(variants=BOTH)
    uninstalled("tensorrt", "tensorrt_rtx")
    return made


def no_plan(machine, uninstalled, monkeypatch):
    return machine(variants=BOTH, plan=False)


def another_gpus_plan(machine, uninstalled, monkeypatch):
    made = machine(variants=BOTH, plan=False)
    made.store(gpus=("sm_90",))
    return made


LACKING = [
    (no_gpu, "There is no NVIDIA GPU here, or no driver for it"),
    (no_driver, "There is no NVIDIA GPU here, or no driver for it"),
    (no_cuda_bindings, r"cuda-bindings, the way to the GPU, is not installed.*pip install bvx\[tensorrt\]"),
    (no_engine, r"tensorrt is not installed\. `pip install bvx\[tensorrt\]`"),
    (no_plan, r"There is no tensorrt plan of fp16/tensorrt on this machine\. .*`bvx build .* --engine tensorrt"),
    (another_gpus_plan, "Plans of fp16/tensorrt are for tensorrt .* for sm_90; here is .* with sm_89"),
]


@pytest.mark.parametrize(("break_it", "why"), LACKING)
def test_what_is_missing_leads_to_the_processor_with_a_warning_that_names_both(
    machine, uninstalled, monkeypatch, break_it, why
):
    made = break_it(machine, uninstalled, monkeypatch)
    with pytest.warns(
        FallbackWarning, match=f"onnxruntime serves this bundle on cpu instead of tensorrt .*{why}"
    ) as all_:
        model = load(made.bundle.path, threads=1)
    assert len(all_) == 1
    with model:
        assert model.variant.key == "fp32/cpu" and model.verify()
    if made.trt.calls:
        assert break_it in (no_plan, another_gpus_plan)


@pytest.mark.parametrize(("break_it", "why"), LACKING)
def test_strict_makes_it_an_error(machine, uninstalled, monkeypatch, break_it, why):
    made = break_it(machine, uninstalled, monkeypatch)
    with pytest.raises(EngineMismatch, match=f"made for tensorrt, and only onnxruntime, for cpu, .* forbids. .*{why}"):
        load_quietly(made, strict=True)
    with pytest.raises(EngineMismatch, match="strict forbids"):
        bvx.TextClassifier.load(made.bundle.path, strict=True)


@pytest.mark.parametrize(("break_it", "why"), LACKING)
def test_where_there_is_nothing_to_fall_back_to_the_reason_is_the_error(
    machine, uninstalled, monkeypatch, break_it, why
):
    made = break_it(machine, uninstalled, monkeypatch)
    words = "cannot be imported|no NVIDIA GPU" if break_it is no_engine else why
    if break_it is no_engine:
        monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(EngineMismatch, match=words):
        load_quietly(made, precision="fp16")


def test_a_gpu_that_answers_wrongly_is_an_error_and_no_fallback(machine, monkeypatch):
    made = machine(variants=(ON_CPU, replace(VARIANT, state="not-runnable-here")))
    right = type(made.bundle).reference
    monkeypatch.setattr(
        type(made.bundle), "reference", lambda *given: {name: array + 1 for name, array in right(*given).items()}
    )
    with pytest.raises(ParityFailed):
        load_quietly(made)
    assert not any(made.cuda.held.values())


def test_a_plan_that_was_changed_is_an_error_and_no_fallback(machine):
    made = machine(variants=BOTH, plan=False)
    made.store().write_bytes(b"a plot")
    with pytest.raises(BundleError, match="was changed"):
        load_quietly(made)


def test_the_other_engine_for_the_same_target_is_no_fallback(machine, uninstalled):
    made = machine("rtx-1.7.1.116", variants=BOTH)
    uninstalled("tensorrt")
    with load_quietly(made, strict=True) as model:
        assert model.engine.name == "tensorrt-rtx"


def test_choices_are_in_order_and_say_what_is_against_each(machine, uninstalled):
    machine(devices=0)
    uninstalled("tensorrt_rtx", "openvino")
    found = {one.engine: one.obstacle for one in list_candidates(["cpu", "tensorrt"])}
    assert list(found) == ["tensorrt", "tensorrt-rtx", "onnxruntime", "openvino"]
    assert "no NVIDIA GPU" in str(found["tensorrt"]) and found["onnxruntime"] is None
    assert "bvx[tensorrt-rtx]" in str(found["tensorrt-rtx"]) and "bvx[openvino]" in str(found["openvino"])


def test_cuda_is_not_asked_where_no_target_wants_a_gpu(machine, monkeypatch):
    made = machine()
    made.cuda.cudaGetDeviceCount = None
    assert find_engine("auto", ["cpu"]) == ("onnxruntime", "cpu")


def test_finding_an_engine_warns_and_refuses_as_loading_does(machine):
    machine(devices=0)
    with pytest.warns(FallbackWarning, match="on cpu instead of tensorrt"):
        assert find_engine("auto", ["cpu", "tensorrt"]) == ("onnxruntime", "cpu")
    with pytest.raises(EngineMismatch, match="strict forbids"):
        find_engine("auto", ["cpu", "tensorrt"], strict=True)
