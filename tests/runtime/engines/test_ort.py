"""ONNX Runtime: its options, its memory, and its failures in a sentence."""

import gc
import os
import signal
import sys
import types
import weakref
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bvx.runtime.engines import ENGINES, find_engine, open_engine
from bvx.runtime.engines.ort import OrtEngine
from bvx.runtime.errors import BundleError, EngineMismatch
from bvx.runtime.manifest import TensorSpec, Variant

STATM = Path("/proc/self/statm")
IDS = np.array([[2, 6, 3]])
FEEDS = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "token_type_ids": np.zeros_like(IDS)}


@pytest.fixture
def path(make_bundle):
    return make_bundle().path / "onnx" / "cpu" / "fp32.onnx"


def variant(**options):
    return Variant("fp32", "cpu", "fp32.onnx", "verified", engine_options=options)


def open_ort(path, threads=1, spin=False, **options):
    return open_engine("onnxruntime", path, variant(**options), threads, spin)


@pytest.fixture
def asked(monkeypatch):
    """What an InferenceSession was last made with."""
    seen = {}
    real = onnxruntime.InferenceSession

    def make(path, options, **others):
        seen.update(others, options=options)
        return real(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", make)
    return seen


def test_the_session_is_made_for_a_service(path, asked):
    engine = open_ort(path, threads=2)
    options = asked["options"]
    assert (engine.threads, options.intra_op_num_threads, options.inter_op_num_threads) == (2, 2, 1)
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_cpu_mem_arena and not options.enable_mem_pattern
    assert asked["providers"] == ["CPUExecutionProvider"]


def test_a_graph_says_what_it_takes_and_gives(path):
    engine = open_ort(path)
    assert engine.inputs == tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in FEEDS)
    assert engine.outputs == (TensorSpec("last_hidden_state", "float32", ("batch", "sequence", 8)),)
    assert list(engine.run(FEEDS)) == ["last_hidden_state"]


def test_threads_spin_only_when_asked(path, asked):
    open_ort(path, spin=True)
    assert asked["options"].get_session_config_entry("session.intra_op.allow_spinning") == "1"


def test_a_variants_engine_options_reach_the_session(path, asked):
    open_ort(path, disabled_optimizers=["SkipLayerNormFusion"], graph_optimization_level="ORT_ENABLE_BASIC")
    assert asked["disabled_optimizers"] == ["SkipLayerNormFusion"]
    assert asked["options"].graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC


@pytest.mark.parametrize(
    "options",
    [
        {"warp_speed": 9},
        {"disabled_optimizers": "SkipLayerNormFusion"},
        {"disabled_optimizers": [1]},
        {"graph_optimization_level": "ORT_ENABLE_MAGIC"},
        {"graph_optimization_level": ["ORT_ENABLE_ALL"]},
    ],
)
def test_engine_options_that_are_not_known_are_refused(path, options):
    with pytest.raises(BundleError, match="engine options that this bvx does not know"):
        open_ort(path, **options)


def test_memory_falls_back_after_a_large_batch(path):
    if not STATM.exists():
        pytest.skip("the resident size is read from /proc")
    engine = open_ort(path)
    before = resident_bytes()
    ids = np.ones((4096, 256), np.int64)  # 32 MB for each of four tensors
    engine.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids})
    assert resident_bytes() - before < 16 * 2**20


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_failing_run_names_the_shapes(path):
    engine = open_ort(path)
    with pytest.raises(EngineMismatch, match=r"onnxruntime .* failed on input_ids \[1, 3\]") as caught:
        engine.run({"input_ids": IDS})
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 50])
def test_a_file_that_is_no_model_is_a_damaged_bundle(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises((BundleError, EngineMismatch), match=r"model\.onnx"):
        open_ort(tmp_path / "model.onnx")


def test_a_missing_onnxruntime_is_named_with_how_to_install_it(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineMismatch, match=r"not installed.*pip install bvx\[cpu\]"):
        open_ort(path)


@pytest.mark.parametrize("version", ["1.22.0", "1.23.2", "0.9"])
def test_an_onnxruntime_that_is_too_old_is_refused(path, monkeypatch, version):
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(EngineMismatch, match=f"onnxruntime is {version}; wanted 1.24 or later"):
        open_ort(path)


def test_what_is_left_of_two_onnxruntimes_is_recognised(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(EngineMismatch, match=r"incomplete.*bvx doctor"):
        open_ort(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_is_told_instead_of_waiting_for_ever(path):
    engine = open_ort(path, threads=2)
    child = os.fork()
    if not child:
        try:
            engine.run(FEEDS)
        except EngineMismatch as error:
            os._exit(7 if "forked" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert engine.run(FEEDS)


def end_by_exit_code(work):
    """The exit code of a forked child that does `work`; a child that hangs is killed after a minute."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_close_the_model_of_its_parent(path):
    engine = open_ort(path, threads=2)
    assert end_by_exit_code(lambda: (engine.close(), gc.collect())) == 0
    assert engine.run(FEEDS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_may_drop_the_model_of_its_parent(path):
    models = [open_ort(path, threads=2)]
    assert end_by_exit_code(lambda: (models.clear(), gc.collect())) == 0
    assert models[0].run(FEEDS)


class Session:
    """Stands for onnxruntime's: whether it is released can be seen, and releasing it never hangs."""

    def get_inputs(self):
        return []

    get_outputs = get_inputs


def held(threads):
    """An engine, and a function that says whether its session is still there."""
    session = Session()
    return OrtEngine(session, "1.32.0", threads), weakref.ref(session)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_never_releases_a_session_with_threads():
    engines, is_there = zip(*[held(1), held(2)], strict=True)
    engines = list(engines)

    def drop():
        engines.clear()
        gc.collect()
        os._exit(7 if [there() is not None for there in is_there] == [False, True] else 1)

    assert end_by_exit_code(drop) == 7
    engines.clear()
    assert [there() for there in is_there] == [None, None], "the parent does"


@pytest.mark.parametrize(("threads", "stays"), [(1, False), (2, True)])
def test_closing_after_a_fork_that_python_did_not_see_releases_no_threads(monkeypatch, threads, stays):
    engine, is_there = held(threads)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    engine.close()
    assert (is_there() is not None) is stays


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("std::bad_alloc", "smaller batches"),
        ("Failed to allocate memory for requested buffer of size 17179869184", "smaller batches"),
        ("Non-zero status code returned while running Add node", "`bvx verify`"),
    ],
)
def test_smaller_batches_are_advised_only_where_memory_is_short(path, said, step):
    engine = open_ort(path)

    class Failing:
        def run(self, names, feeds):
            raise RuntimeError(said)

    engine._session = Failing()
    with pytest.raises(EngineMismatch) as caught:
        engine.run(FEEDS)
    assert step in caught.value.next_step and ("batches" in step) == ("batches" in caught.value.next_step)


def test_auto_takes_what_serves_the_bundle():
    assert find_engine("auto", ["tensorrt", "cpu"]) == ("onnxruntime", "cpu")
    with pytest.raises(EngineMismatch, match="made for abacus, and onnxruntime serves cpu"):
        find_engine("auto", ["abacus"])


def test_every_engine_has_its_file(root):
    for entry in ENGINES.values():
        assert (root / "runtime" / "engines" / f"{entry.module}.py").is_file()
