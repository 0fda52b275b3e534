"""ONNX Runtime: its options, and its sessions after a fork. test_cpu_engines.py has what all CPU engines do."""

import gc
import os
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
from bvx.runtime.manifest import Variant

from .conftest import end_by_exit_code

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


def test_what_is_left_of_two_onnxruntimes_is_recognised(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    with pytest.raises(EngineMismatch, match=r"incomplete.*bvx doctor"):
        open_ort(path)


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


def test_auto_takes_what_serves_the_bundle():
    assert find_engine("auto", ["tensorrt", "cpu"]) == ("onnxruntime", "cpu")
    with pytest.raises(EngineMismatch, match="made for abacus, and onnxruntime serves cpu"):
        find_engine("auto", ["abacus"])


def test_every_engine_has_its_file(root):
    for entry in ENGINES.values():
        assert (root / "runtime" / "engines" / f"{entry.module}.py").is_file()
