"""OpenVINO: its settings, and what only it would do. test_cpu_engines.py has what all engines for the CPU do."""

import os
import types
from pathlib import Path

import numpy as np
import onnx
import pytest

import bvx
from bvx.runtime.engines import ENGINES, find_engine, open_engine
from bvx.runtime.errors import BundleError, EngineMismatch
from bvx.runtime.manifest import Variant

openvino = pytest.importorskip("openvino", reason="openvino is not installed: pip install bvx[openvino]")

STATM = Path("/proc/self/statm")
IDS = np.array([[2, 6, 3]])
FEEDS = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": np.zeros_like(IDS)}

needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
allows_forks = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def tiny(make_bundle):
    return make_bundle()


@pytest.fixture
def path(tiny):
    return tiny.path / "onnx" / "cpu" / "fp32.onnx"


def open_openvino(path, threads=1, **options):
    variant = Variant("fp32", "cpu", "fp32.onnx", "verified", engine_options=options)
    return open_engine("openvino", path, variant, threads, spin=False)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_model_is_compiled_for_a_service_in_full_precision(path, threads):
    compiled = open_openvino(path, threads)._compiled
    found = {
        name: compiled.get_property(name)
        for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING", "DYNAMIC_QUANTIZATION_GROUP_SIZE")
    }
    assert list(found.values()) == [threads, 1, False, 0]
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32


def test_what_onnxruntime_has_to_be_told_means_nothing_here(path):
    engine = open_openvino(path, disabled_optimizers=["SkipLayerNormFusion"])
    assert engine.run(FEEDS)["last_hidden_state"].shape == (1, 3, 8)


@pytest.mark.parametrize(
    "feeds",
    [
        {"input_ids": IDS},
        {**FEEDS, "attention_mask": FEEDS["attention_mask"][:, :2]},
        {**FEEDS, "token_type_ids": FEEDS["token_type_ids"].astype(np.int32)},
        {**FEEDS, "position_ids": IDS},
    ],
    ids=["missing", "shape", "dtype", "unknown"],
)
def test_inputs_that_openvino_would_guess_about_are_refused_naming_the_shapes(path, feeds):
    engine = open_openvino(path)
    engine.run(FEEDS)  # OpenVINO would take what is missing from the run before
    with pytest.raises(EngineMismatch, match=r"openvino .* failed on input_ids \[1, 3\].*wanted input_ids int64"):
        engine.run(feeds)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 50])
def test_nothing_but_the_error_is_said_of_a_damaged_file(tmp_path, content, capfd):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises((BundleError, EngineMismatch), match=r"openvino .*model\.onnx"):
        open_openvino(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


def test_an_openvino_of_no_known_version_is_refused(path, monkeypatch):
    monkeypatch.setattr(openvino, "__version__", "")
    with pytest.raises(EngineMismatch, match=r"openvino is of no known version; wanted 2026\.0 or later"):
        open_openvino(path)


def test_an_operator_that_openvino_does_not_have_is_named(tmp_path):
    axes = ["batch", "sequence"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Sorcery", ["input_ids"], ["out"], domain="nowhere")],
        "tiny",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, axes)],
        [onnx.helper.make_tensor_value_info("out", onnx.TensorProto.INT64, axes)],
    )
    domains = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("nowhere", 1)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=domains, ir_version=10), tmp_path / "model.onnx")
    with pytest.raises(EngineMismatch, match=r"cannot run .*model\.onnx: .*Sorcery"):
        open_openvino(tmp_path / "model.onnx")


def test_auto_takes_openvino_only_where_onnxruntime_is_not(monkeypatch):
    assert find_engine("auto", ["cpu"]) == ("onnxruntime", "cpu")
    real = bvx.runtime.engines.find_spec
    absent = types.SimpleNamespace(names={"onnxruntime"})
    monkeypatch.setattr(bvx.runtime.engines, "find_spec", lambda name: None if name in absent.names else real(name))
    assert find_engine("auto", ["cpu"]) == ("openvino", "cpu")
    absent.names = {entry.library for entry in ENGINES.values()}
    assert find_engine("auto", ["cpu"]) == ("onnxruntime", "cpu"), "whose absence is then what is said"
