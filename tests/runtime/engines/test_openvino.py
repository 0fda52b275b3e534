"""OpenVINO: its settings, many threads at once, its memory, forks, and its failures in a sentence."""

import gc
import os
import signal
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

import bvx
from bvx.runtime.engines import ENGINES, find_engine, open_engine
from bvx.runtime.errors import BundleError, EngineMismatch
from bvx.runtime.manifest import TensorSpec, Variant

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


def test_a_bundle_answers_as_on_onnxruntime_and_verifies(tiny):
    with (
        bvx.load(tiny.path, engine="openvino", threads=1) as one,
        bvx.load(tiny.path, engine="onnxruntime", threads=1) as other,
    ):
        assert (one.engine.name, one.engine.threads) == ("openvino", 1)
        texts = ["the cat sat on a mat", "dog", "the dog ran far , and the cat sat"]
        for mine, theirs in zip(one(texts), other(texts), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
        report = one.verify()
        assert report and report.engine.startswith("openvino 20")


def test_a_graph_says_what_it_takes_and_gives(path):
    engine = open_openvino(path)
    assert engine.inputs == tuple(TensorSpec(name, "int64", ("?", "?")) for name in FEEDS)
    assert engine.outputs == (TensorSpec("last_hidden_state", "float32", ("?", "?", 8)),)
    assert list(engine.run(FEEDS)) == ["last_hidden_state"]


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


def test_only_the_outputs_that_are_asked_for_come_in_that_order(make_bundle):
    folder = make_bundle("pretraining-heads").path
    engine = open_openvino(folder / "onnx" / "cpu" / "fp32.onnx")
    assert list(engine.run(FEEDS)) == [spec.name for spec in engine.outputs]
    assert list(engine.run(FEEDS, ["sop_logits"])) == ["sop_logits"]
    assert list(engine.run(FEEDS, ["sop_logits", "prediction_logits"])) == ["sop_logits", "prediction_logits"]


def test_threads_that_run_at_once_get_their_own_answers_which_later_runs_leave_alone(tiny, path):
    engine = open_openvino(path, threads=2)
    random = np.random.default_rng(0)

    def ask(number):
        ids = random.integers(0, 10, (1 + number % 3, 1 + number % 7))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return feeds, engine.run(feeds)["last_hidden_state"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(200)))
    for feeds, found in answers:
        np.testing.assert_allclose(found, tiny.reference(feeds)["last_hidden_state"], atol=1e-5)


def test_memory_falls_back_after_a_large_batch(path):
    if not STATM.exists():
        pytest.skip("the resident size is read from /proc")
    engine = open_openvino(path)
    engine.run(FEEDS)
    before = resident_bytes()
    ids = np.ones((4096, 256), np.int64)  # 32 MB for each of four tensors
    engine.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids})
    del ids
    assert resident_bytes() - before < 48 * 2**20


def test_memory_stays_flat_over_batches_of_varying_length(path):
    if not STATM.exists():
        pytest.skip("the resident size is read from /proc")
    engine = open_openvino(path)
    random = np.random.default_rng(0)
    sizes = []
    for _ in range(3):
        for _ in range(500):
            ids = np.ones((int(random.integers(1, 9)), int(random.integers(1, 257))), np.int64)
            engine.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids})
        sizes.append(resident_bytes())
    assert sizes[-1] - sizes[0] < 4 * 2**20


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


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
def test_a_file_that_is_no_model_is_a_damaged_bundle_and_nothing_else_is_said(tmp_path, content, capfd):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises((BundleError, EngineMismatch), match=r"openvino .*model\.onnx"):
        open_openvino(tmp_path / "model.onnx")
    assert capfd.readouterr() == ("", "")


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


def test_a_missing_openvino_is_named_with_how_to_install_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineMismatch, match=r"not installed.*pip install bvx\[openvino\]"):
        open_openvino(path)


@pytest.mark.parametrize("version", ["2025.4.0-1-abc", "2024.6", ""])
def test_an_openvino_that_is_too_old_is_refused(path, monkeypatch, version):
    monkeypatch.setattr(openvino, "__version__", version)
    with pytest.raises(EngineMismatch, match=r"wanted 2026\.0 or later"):
        open_openvino(path)


def test_a_closed_model_answers_nothing_more_and_closes_again(path):
    engine = open_openvino(path)
    engine.close()
    engine.close()
    with pytest.raises(EngineMismatch, match="closed"):
        engine.run(FEEDS)


def test_memory_that_does_not_suffice_is_told_with_what_to_do(path):
    engine = open_openvino(path)

    class Failing:
        def create_infer_request(self):
            raise RuntimeError("Exception from src/x.cpp:1:\nstd::bad_alloc")

    engine._compiled = Failing()
    with pytest.raises(EngineMismatch, match="smaller batches") as caught:
        engine.run(FEEDS)
    assert "src/x.cpp" not in caught.value.cause
    engine._compiled = None


def test_auto_takes_openvino_only_where_onnxruntime_is_not(monkeypatch):
    assert find_engine("auto", ["cpu"]) == ("onnxruntime", "cpu")
    real = bvx.runtime.engines.find_spec
    absent = types.SimpleNamespace(names={"onnxruntime"})
    monkeypatch.setattr(bvx.runtime.engines, "find_spec", lambda name: None if name in absent.names else real(name))
    assert find_engine("auto", ["cpu"]) == ("openvino", "cpu")
    absent.names = {entry.library for entry in ENGINES.values()}
    assert find_engine("auto", ["cpu"]) == ("onnxruntime", "cpu"), "whose absence is then what is said"


def end_by_exit_code(work):
    """The exit code of a forked child that does `work`; a child that hangs is killed after a minute."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        try:
            work()
            os._exit(0)
        except EngineMismatch as error:
            os._exit(7 if "forked" in str(error) else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_forks
@allows_forks
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_is_told_may_close_and_drop_the_model_and_load_its_own(path, threads):
    models = [open_openvino(path, threads)]
    assert end_by_exit_code(lambda: models[0].run(FEEDS)) == 7
    assert end_by_exit_code(lambda: (models[0].close(), gc.collect())) == 0
    assert end_by_exit_code(lambda: (models.clear(), gc.collect())) == 0
    assert end_by_exit_code(lambda: open_openvino(path, threads).run(FEEDS)) == 0
    assert models[0].run(FEEDS)
