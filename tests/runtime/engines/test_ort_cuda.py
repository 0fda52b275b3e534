"""The engine on CUDA under a strict stand-in for onnxruntime-gpu, on a CUDA that counts what is held."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

import bvx.runtime.engines
from bvx.runtime.engines import open_engine, ort_cuda
from bvx.runtime.errors import BundleError, EngineMismatch, FallbackWarning, InputError
from bvx.runtime.loading import load
from bvx.runtime.manifest import Variant

from ...nvidia.fake_ort import FakeOrt
from .conftest import ON_CPU, TOLERANCE
from .test_tensorrt import feeds

ON_CUDA = Variant("fp16", "cuda", "onnx/cpu/fp32.onnx", "verified")


@pytest.fixture
def gpu(fake_cuda, make_bundle, monkeypatch):
    """Installs everything: gpu(variants=(ON_CUDA,), cuda={}, **ort) -> (bundle, CUDA, onnxruntime)."""

    def install(variants=(ON_CUDA,), cuda=None, installed=("onnxruntime-gpu",), **options):
        bundle = make_bundle(
            "text-classification", variants=variants, tolerances={one.precision: TOLERANCE for one in variants}
        )
        runtime = fake_cuda(**(cuda or {}))
        module = FakeOrt(runtime, **options)
        monkeypatch.setitem(sys.modules, "onnxruntime", module)
        monkeypatch.setattr(ort_cuda.metadata, "distributions", lambda name: [name] if name in installed else [])
        monkeypatch.setattr(
            bvx.runtime.engines.EngineEntry,
            "is_installed",
            property(lambda entry: entry.module != "tensorrt" and entry.module != "tensorrt_rtx"),
        )
        return bundle, runtime, module

    return install


def open_on(bundle):
    return open_engine("onnxruntime-cuda", bundle.path / ON_CUDA.file, ON_CUDA, 1, False)


def test_a_bundle_loads_answers_and_verifies(gpu):
    bundle, cuda, _ = gpu()
    with load(bundle.path, strict=True) as model:
        arrays = feeds(3, 7)
        np.testing.assert_allclose(model.run(**arrays)["logits"], bundle.reference(arrays)["logits"], rtol=1e-5)
        assert model.verify()
        assert model("the cat sat")["label"] in ("bad", "so so", "good")
        assert (model.engine.name, model.engine.version) == ("onnxruntime-cuda", "1.31.1")
    assert not any(cuda.held.values())


def test_tf32_is_off_graphs_are_on_and_the_stream_is_ours(gpu):
    bundle, cuda, module = gpu()
    engine = open_on(bundle)
    ((name, options),) = module.calls[0]["providers"]
    assert name == "CUDAExecutionProvider" and options["use_tf32"] == "0" and options["enable_cuda_graph"] == "1"
    assert int(options["user_compute_stream"]) in cuda.streams
    engine.close()


def test_a_shape_that_comes_back_is_captured_once_and_replayed(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    for seed in range(5):
        arrays = feeds(2, 8, seed)
        found = engine.run(arrays)["logits"]
        np.testing.assert_allclose(found, bundle.reference(arrays)["logits"], rtol=1e-5)
    assert cuda.launches == 3, "the first run is plain, the second is captured, three are replayed"
    engine.close()
    assert not any(cuda.held.values())


def test_graphs_keep_the_buffers_that_they_know_while_others_grow(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    small, large = (2, 8), (16, 64)
    for seed, shape in enumerate((small, small, small, large, large, small, large, small)):
        arrays = feeds(*shape, seed)
        found = engine.run(arrays)["logits"]
        np.testing.assert_allclose(found, bundle.reference(arrays)["logits"], rtol=1e-5)
    assert cuda.launches == 4
    engine.close()
    assert not any(cuda.held.values())


def test_many_shapes_keep_a_bounded_number_of_graphs_and_bytes(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    for _ in range(3):
        for length in range(4, 64):
            engine.run(feeds(16, length))
    assert cuda.launches == 32
    in_use = 4 * 16 * 64 * 8
    assert cuda.device_bytes <= 2 * in_use + 4 * 4096
    engine.close()
    assert not any(cuda.held.values())


def test_graphs_can_be_left_out(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    engine.cuda_graphs = False
    for seed in range(4):
        engine.run(feeds(2, 8, seed))
    assert cuda.launches == 0
    engine.close()


def test_a_graph_that_cannot_be_captured_runs_without(gpu):
    bundle, cuda, module = gpu(captures=False)
    engine = open_on(bundle)
    assert [call["providers"][0][1]["enable_cuda_graph"] for call in module.calls] == ["1", "0"]
    for seed in range(4):
        arrays = feeds(2, 8, seed)
        np.testing.assert_allclose(engine.run(arrays)["logits"], bundle.reference(arrays)["logits"], rtol=1e-5)
    engine.close()
    assert not any(cuda.held.values())


def test_a_capture_that_fails_in_the_middle_is_run_again_without(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    session = engine._bindings._session
    real = session.run_with_iobinding

    def fail(binding, options):
        if options.get_run_config_entry("gpu_graph_id") != "-1":
            raise RuntimeError("cudaErrorStreamCaptureUnsupported")
        real(binding, options)

    session.run_with_iobinding = fail
    for seed in range(4):
        arrays = feeds(2, 8, seed)
        np.testing.assert_allclose(engine.run(arrays)["logits"], bundle.reference(arrays)["logits"], rtol=1e-5)
    assert cuda.launches == 0
    session = real = None
    engine.close()
    assert not any(cuda.held.values())


def test_eight_threads_get_their_own_answers_through_one_thread_of_the_engine(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    failures = []

    def work(number):
        try:
            for seed in range(6):
                arrays = feeds(1 + number % 4, 4 + seed % 2, 10 * number + seed)
                found = engine.run(arrays)["logits"]
                np.testing.assert_allclose(found, bundle.reference(arrays)["logits"], rtol=1e-5)
        except BaseException as error:  # noqa: BLE001  it is looked at in the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and cuda.launches
    engine.close()
    assert not any(cuda.held.values())


def test_a_run_that_fails_is_a_sentence_and_the_engine_goes_on(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    wrong = feeds(2, 8)
    wrong["input_ids"] = wrong["input_ids"] + 10**6
    with pytest.raises(InputError, match="outside the model's table"):
        engine.run(wrong)
    assert engine.run(feeds(2, 8))["logits"].shape == (2, 3)
    engine.close()
    assert not any(cuda.held.values())


def test_a_full_gpu_is_a_sentence_and_leaves_nothing_behind(gpu):
    bundle, cuda, _ = gpu(cuda={"memory": 20_000})
    engine = open_on(bundle)
    with pytest.raises(EngineMismatch, match=r"taking .* bytes on the GPU: out of memory.*smaller batches"):
        engine.run(feeds(64, 64))
    engine.run(feeds(1, 4))
    engine.close()
    assert not any(cuda.held.values())


def test_a_closed_engine_answers_nothing_and_closing_again_does_nothing(gpu):
    bundle, _, _ = gpu()
    engine = open_on(bundle)
    engine.close()
    engine.close()
    with pytest.raises(EngineMismatch, match="was closed"):
        engine.run(feeds(1, 4))


def test_a_forked_child_is_refused(gpu):
    bundle, _, _ = gpu()
    engine = open_on(bundle)
    engine._process += 1
    with pytest.raises(EngineMismatch, match="before the process forked"):
        engine.run(feeds(1, 4))
    engine._process -= 1
    engine.close()


def test_the_gpus_own_time_is_read_from_events(gpu):
    bundle, cuda, _ = gpu()
    engine = open_on(bundle)
    assert engine.time_run(feeds(2, 8)) == 5, "three copies in, the model, one copy out, by the stand-in's clock"
    engine.close()
    assert not any(cuda.held.values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"misses": "provider"},
            r"is the one for the processor.*pip uninstall -y onnxruntime`, then `pip install bvx\[cuda\]",
        ),
        (
            {"installed": ("onnxruntime", "onnxruntime-gpu")},
            r"both installed, and overwrite.*uninstall -y onnxruntime onnxruntime-gpu`, then `pip install bvx\[cuda\]",
        ),
        ({"misses": "libraries"}, r"cannot load its CUDA provider: .*libcudnn\.so\.9.*pip install bvx\[cuda\]"),
        ({"version": "1.27.0"}, r"onnxruntime is 1\.27\.0; wanted 1\.28 or later\. .*pip install -U bvx\[cuda\]"),
        ({"cuda": {"devices": 0}}, "no NVIDIA GPU here.*--gpus all"),
        (
            {"strays": ("Shape", "MatMul", "Gather")},
            r"would run .* on the processor: Gather .*pip install -U bvx\[cuda\]",
        ),
    ],
)
def test_what_is_missing_is_a_sentence_with_what_to_type_and_nothing_is_held(gpu, capfd, options, words):
    bundle, cuda, module = gpu(**options)
    with pytest.raises(EngineMismatch, match=words):
        open_on(bundle)
    assert not any(cuda.held.values())
    assert not capfd.readouterr().out
    if "libraries" not in str(options) and "strays" not in options:
        assert not module.calls, "refused before a session is made"


def test_a_package_that_is_absent_is_a_sentence(gpu, monkeypatch):
    bundle, _, _ = gpu()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineMismatch, match=r"engine for the GPU\. Install it with `pip install bvx\[cuda\]`"):
        open_on(bundle)


def test_a_file_that_is_no_model_is_a_damaged_bundle(gpu):
    bundle, cuda, _ = gpu()
    (bundle.path / ON_CUDA.file).write_bytes(b"nothing")
    with pytest.raises((BundleError, EngineMismatch)):
        open_on(bundle)
    assert not any(cuda.held.values())


def test_auto_falls_back_to_the_processor_with_a_warning_that_names_both(gpu, monkeypatch):
    import onnxruntime as real

    bundle, _, _ = gpu((ON_CPU, ON_CUDA), cuda={"devices": 0})
    monkeypatch.setitem(sys.modules, "onnxruntime", real)
    with pytest.warns(
        FallbackWarning, match="onnxruntime serves this bundle on cpu instead of onnxruntime-cuda on cuda"
    ):
        load(bundle.path, threads=1).close()


def test_the_package_for_the_processor_is_not_taken_for_this_engine():
    entry = bvx.runtime.engines.ENGINES["onnxruntime-cuda"]
    assert not entry.is_installed
    assert replace(entry, part="capi/*").is_installed
