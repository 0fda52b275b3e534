"""What every engine for the CPU does, and how each fails in a sentence. What only one has is in a file of its own."""

import gc
import importlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import bvx
from bvx.runtime.engines import ENGINES, open_engine
from bvx.runtime.errors import BundleError, EngineMismatch
from bvx.runtime.manifest import TensorSpec, Variant

from .conftest import end_by_exit_code

STATM = Path("/proc/self/statm")
IDS = np.array([[2, 6, 3]])

needs_forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
allows_forks = pytest.mark.filterwarnings("ignore::DeprecationWarning")
needs_statm = pytest.mark.skipif(not STATM.exists(), reason="the resident size is read from /proc")


@dataclass(frozen=True)
class Kind:
    """An engine: its name, the extra that installs it, what it calls dynamic axes, and the attribute with its model."""

    name: str
    extra: str
    axes: tuple[str, str]
    model: str
    oldest: str
    too_old: tuple[str, ...]

    def open(self, path, threads=1):
        return open_engine(self.name, path, Variant("fp32", "cpu", "fp32.onnx", "verified"), threads, spin=False)


KINDS = (
    Kind("onnxruntime", "cpu", ("batch", "sequence"), "_session", "1.24", ("1.22.0", "1.23.2", "0.9")),
    Kind("openvino", "openvino", ("?", "?"), "_compiled", "2026.0", ("2025.4.0-1-abc", "2024.6", "0.9")),
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    pytest.importorskip(request.param.name, reason=f"pip install bvx[{request.param.extra}]")
    return request.param


@pytest.fixture
def tiny(make_bundle):
    return make_bundle()


@pytest.fixture
def path(tiny):
    return tiny.path / "onnx" / "cpu" / "fp32.onnx"


def feeds_of(ids):
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


FEEDS = feeds_of(IDS)


def test_the_kinds_are_all_engines_for_the_cpu():
    assert [kind.name for kind in KINDS] == [name for name, entry in ENGINES.items() if "cpu" in entry.targets]


def test_a_bundle_is_answered_as_it_was_computed_and_verifies(kind, tiny):
    with bvx.load(tiny.path, engine=kind.name, threads=1) as model:
        assert (model.engine.name, model.engine.threads) == (kind.name, 1)
        texts = ["the cat sat on a mat", "dog", "the dog ran far , and the cat sat"]
        for text, found in zip(texts, model(texts), strict=True):
            wanted = tiny.reference(model.tokenize(text))["last_hidden_state"][0]
            np.testing.assert_allclose(found, wanted, atol=1e-5)
        report = model.verify()
        assert report and report.engine == f"{kind.name} {model.engine.version}"


def test_a_graph_says_what_it_takes_and_gives(kind, path):
    engine = kind.open(path)
    assert engine.inputs == tuple(TensorSpec(name, "int64", kind.axes) for name in FEEDS)
    assert engine.outputs == (TensorSpec("last_hidden_state", "float32", (*kind.axes, 8)),)
    assert list(engine.run(FEEDS)) == ["last_hidden_state"]


def test_only_the_outputs_that_are_asked_for_come_in_that_order(kind, make_bundle):
    engine = kind.open(make_bundle("pretraining-heads").path / "onnx" / "cpu" / "fp32.onnx")
    assert list(engine.run(FEEDS)) == [spec.name for spec in engine.outputs]
    assert list(engine.run(FEEDS, ["sop_logits"])) == ["sop_logits"]
    assert list(engine.run(FEEDS, ["sop_logits", "prediction_logits"])) == ["sop_logits", "prediction_logits"]


def test_threads_that_run_at_once_get_their_own_answers_which_later_runs_leave_alone(kind, tiny, path):
    engine = kind.open(path, threads=2)
    random = np.random.default_rng(0)
    asked = [feeds_of(random.integers(0, 10, (1 + number % 3, 1 + number % 7))) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda feeds: engine.run(feeds)["last_hidden_state"], asked))
    for feeds, found in zip(asked, answers, strict=True):
        np.testing.assert_allclose(found, tiny.reference(feeds)["last_hidden_state"], atol=1e-5)


@needs_statm
def test_memory_falls_back_after_a_large_batch(kind, path):
    engine = kind.open(path)
    engine.run(FEEDS)
    before = resident_bytes()
    ids = np.ones((4096, 256), np.int64)  # 32 MB for each of four tensors
    engine.run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids})
    del ids
    assert resident_bytes() - before < 48 * 2**20


@needs_statm
def test_memory_stays_flat_over_batches_of_any_length(kind, path):
    engine = kind.open(path)
    random = np.random.default_rng(0)
    sizes = []
    for _ in range(3):
        for _ in range(500):
            engine.run(feeds_of(np.ones((int(random.integers(1, 9)), int(random.integers(1, 257))), np.int64)))
        sizes.append(resident_bytes())
    assert sizes[-1] - sizes[0] < 4 * 2**20


def resident_bytes():
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_failing_run_names_the_shapes(kind, path):
    engine = kind.open(path)
    with pytest.raises(EngineMismatch, match=rf"{kind.name} .* failed on input_ids \[1, 3\]"):
        engine.run({"input_ids": IDS})


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a" * 50])
def test_a_file_that_is_no_model_is_a_damaged_bundle(kind, tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises((BundleError, EngineMismatch), match=rf"{kind.name} .*model\.onnx"):
        kind.open(tmp_path / "model.onnx")


def test_a_missing_library_is_named_with_how_to_install_it(kind, path, monkeypatch):
    monkeypatch.setitem(sys.modules, kind.name, None)
    with pytest.raises(EngineMismatch, match=rf"{kind.name} is not installed.*pip install bvx\[{kind.extra}\]"):
        kind.open(path)


@pytest.mark.parametrize("which", range(3))
def test_a_library_that_is_too_old_is_refused(kind, path, monkeypatch, which):
    version = kind.too_old[which]
    monkeypatch.setattr(importlib.import_module(kind.name), "__version__", version)
    shown = version.partition("-")[0]
    with pytest.raises(EngineMismatch, match=f"{kind.name} is {shown}; wanted {kind.oldest} or later"):
        kind.open(path)


def test_a_closed_model_answers_nothing_more_and_closes_again(kind, path):
    engine = kind.open(path)
    engine.close()
    engine.close()
    with pytest.raises(EngineMismatch, match="closed"):
        engine.run(FEEDS)


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("Exception from src/x.cpp:1:\nstd::bad_alloc", "smaller batches"),
        ("Failed to allocate memory for requested buffer of size 17179869184", "smaller batches"),
        ("Non-zero status code returned while running Add node", "`bvx verify`"),
    ],
)
def test_smaller_batches_are_advised_only_where_memory_is_short(kind, path, monkeypatch, said, step):
    engine = kind.open(path)

    class Failing:
        def run(self, *others):
            raise RuntimeError(said)

        create_infer_request = run

    monkeypatch.setattr(engine, kind.model, Failing())
    with pytest.raises(EngineMismatch) as caught:
        engine.run(FEEDS)
    assert step in caught.value.next_step and ("batches" in step) == ("batches" in caught.value.next_step)


def is_told(work):
    """`work` for a forked child, which ends with 7 where it is told of the fork."""

    def ask():
        try:
            work()
        except EngineMismatch as error:
            os._exit(7 if "forked" in str(error) else 1)

    return ask


@needs_forks
@allows_forks
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_is_told_may_close_and_drop_the_model_and_load_its_own(kind, path, threads):
    models = [kind.open(path, threads)]
    # A session of onnxruntime on one thread has no others that a fork would leave behind.
    answers_there = kind.name == "onnxruntime" and threads == 1
    assert end_by_exit_code(is_told(lambda: models[0].run(FEEDS))) == (0 if answers_there else 7)
    assert end_by_exit_code(lambda: (models[0].close(), gc.collect())) == 0
    assert end_by_exit_code(lambda: (models.clear(), gc.collect())) == 0
    assert end_by_exit_code(lambda: kind.open(path, threads).run(FEEDS)) == 0
    assert models[0].run(FEEDS)
