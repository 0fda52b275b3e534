"""The TensorRT engine under the strict stand-ins of every version, on a CUDA that counts what is held."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from bvx.runtime.engines import open_engine
from bvx.runtime.errors import BundleError, EngineMismatch, InputError
from bvx.runtime.loading import load

from .conftest import PROFILES, VARIANT

NOTHING = {"device": 0, "host": 0, "streams": 0, "graphs": 0, "events": 0}


def feeds(batch, length, seed=0):
    random = np.random.default_rng(seed)
    mask = np.ones((batch, length), np.int64)
    mask[:, length // 2 + 1 :] = random.integers(0, 2, mask[:, length // 2 + 1 :].shape)
    return {
        "input_ids": random.integers(0, 20, (batch, length)),
        "attention_mask": mask,
        "token_type_ids": random.integers(0, 2, (batch, length)),
    }


def open_on(machine):
    return open_engine(machine.engine, machine.bundle.path / VARIANT.file, VARIANT, 1, False)


def test_a_bundle_loads_answers_and_verifies_on_every_version(surface, machine):
    made = machine(surface)
    with load(made.bundle.path, engine=made.engine) as model:
        arrays = feeds(3, 7)
        found = model.run(**arrays)
        np.testing.assert_allclose(found["logits"], made.bundle.reference(arrays)["logits"], rtol=1e-6)
        assert model.verify()
        assert model("the cat sat")["label"] in ("bad", "so so", "good")
        assert (model.engine.name, model.engine.version) == (made.engine, made.trt.__version__)
    assert made.cuda.held == NOTHING


def test_the_engine_says_its_own_tensors_and_profiles(surface, machine):
    engine = open_on(machine(surface))
    assert [(spec.name, spec.dtype, spec.shape) for spec in engine.outputs] == [("logits", "float32", ("?", 3))]
    assert {spec.dtype for spec in engine.inputs} == {"int64"}
    assert engine.profiles == PROFILES
    engine.close()


def test_a_shape_takes_the_smallest_profile_that_covers_it(machine):
    made = machine()
    engine = open_on(made)
    for batch, length in ((2, 8), (16, 24), (4, 12)):
        engine.run(feeds(batch, length))
    chosen = [given["profile_index"] for name, given in made.trt.calls if "set_optimization_profile" in name]
    assert chosen == [0, 1, 0]
    engine.close()


@pytest.mark.parametrize(("batch", "length"), [(17, 4), (1, 25)])
def test_a_shape_that_no_profile_covers_is_refused_with_those_that_do(machine, batch, length):
    engine = open_on(machine())
    with pytest.raises(InputError, match=rf"batch {batch} with length {length}.*batch 1 to 4 with length 1 to 12 or"):
        engine.run(feeds(batch, length))
    engine.close()


def test_a_shape_that_comes_back_runs_by_a_graph_and_says_the_same(machine):
    made = machine()
    engine = open_on(made)
    for seed in range(5):
        arrays = feeds(2, 8, seed)
        found = engine.run(arrays)["logits"]
        np.testing.assert_allclose(found, made.bundle.reference(arrays)["logits"], rtol=1e-6)
    assert made.cuda.launches == 4
    assert made.cuda.held["graphs"] == 1
    engine.close()
    assert made.cuda.held == NOTHING


def test_graphs_can_be_left_out(machine):
    made = machine()
    engine = open_on(made)
    engine.cuda_graphs = False
    for seed in range(4):
        arrays = feeds(2, 8, seed)
        found = engine.run(arrays)["logits"]
        np.testing.assert_allclose(found, made.bundle.reference(arrays)["logits"], rtol=1e-6)
    assert (made.cuda.launches, made.cuda.held["graphs"]) == (0, 0)
    engine.close()


@pytest.mark.parametrize("graphs", [True, False])
def test_the_gpus_own_time_is_read_from_events(machine, graphs):
    made = machine()
    engine = open_on(made)
    engine.cuda_graphs = graphs
    found = [engine.time_run(feeds(2, 8)) for _ in range(3)]
    assert found == [5, 5, 5], "three copies in, the model, one copy out, by the stand-in's clock"
    assert made.cuda.held["events"] == 0
    engine.close()
    assert made.cuda.held == NOTHING


def test_events_are_given_back_where_the_run_fails(machine):
    made = machine(memory=2000)
    engine = open_on(made)
    with pytest.raises(EngineMismatch, match="out of memory"):
        engine.time_run(feeds(16, 24))
    engine.close()
    assert made.cuda.held == NOTHING


def test_graphs_are_thrown_away_before_the_buffers_that_they_know_grow(machine):
    made = machine()
    engine = open_on(made)
    for _ in range(3):
        engine.run(feeds(2, 8))
    arrays = feeds(16, 24)
    np.testing.assert_allclose(engine.run(arrays)["logits"], made.bundle.reference(arrays)["logits"], rtol=1e-6)
    assert made.cuda.held["graphs"] == 0
    small = feeds(2, 8, 7)
    np.testing.assert_allclose(engine.run(small)["logits"], made.bundle.reference(small)["logits"], rtol=1e-6)
    engine.close()


def test_many_shapes_keep_a_bounded_number_of_graphs_and_buffers(machine):
    made = machine()
    engine = open_on(made)
    for _ in range(2):
        for batch in range(16, 8, -1):
            for length in range(24, 14, -1):
                engine.run(feeds(batch, length))
    assert made.cuda.held["graphs"] == 32
    assert made.cuda.held["device"] == made.cuda.held["host"] == 4
    engine.close()
    assert made.cuda.held == NOTHING


def test_an_engine_that_cannot_be_captured_runs_without_graphs(machine):
    made = machine()
    made.cuda.cudaStreamEndCapture = lambda stream: (
        made.cuda.captures.pop(stream),
        (made.cuda.cudaError_t(900), None),
    )[1]
    engine = open_on(made)
    for seed in range(4):
        arrays = feeds(2, 8, seed)
        found = engine.run(arrays)["logits"]
        np.testing.assert_allclose(found, made.bundle.reference(arrays)["logits"], rtol=1e-6)
    assert made.cuda.launches == 0
    engine.close()
    assert made.cuda.held == NOTHING


def test_threads_share_two_contexts_and_get_their_own_answers(machine):
    made = machine()
    engine = open_on(made)
    failures = []

    def work(number):
        try:
            for seed in range(5):
                arrays = feeds(1 + number % 4, 4 + seed, 10 * number + seed)
                found = engine.run(arrays)["logits"]
                np.testing.assert_allclose(found, made.bundle.reference(arrays)["logits"], rtol=1e-6)
        except Exception as error:  # noqa: BLE001  it is looked at in the main thread
            failures.append(error)

    # The fake CUDA refuses to free memory while any stream has work, which several threads would trip over.
    made.cuda._free = lambda kind, address: (made.cuda.blocks[kind].pop(address), (made.cuda.cudaError_t(0),))[1]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert made.cuda.held["streams"] <= 2
    engine.close()
    assert made.cuda.held == NOTHING


def test_a_closed_engine_answers_nothing_and_closing_again_does_nothing(machine):
    made = machine()
    engine = open_on(made)
    engine.run(feeds(1, 4))
    engine.close()
    engine.close()
    assert made.cuda.held == NOTHING
    with pytest.raises(EngineMismatch, match="was closed"):
        engine.run(feeds(1, 4))


def test_a_full_gpu_is_a_sentence_and_leaves_nothing_behind(machine):
    made = machine(memory=2000)
    engine = open_on(made)
    with pytest.raises(EngineMismatch, match=r"taking .* bytes on the GPU: out of memory.*smaller batches"):
        engine.run(feeds(16, 24))
    engine.close()
    assert made.cuda.held == NOTHING


def test_a_run_that_tensorrt_refuses_is_a_sentence_and_the_engine_goes_on(machine, fake_trt):
    made = machine()
    engine = open_on(made)
    lane = engine._take()
    engine._give(lane)
    check = lane._check
    lane._check = lambda done, what: check(done and what != "a run", what)
    with pytest.raises(EngineMismatch, match="refused a run"):
        engine.run(feeds(1, 4))
    lane._check = check
    assert engine.run(feeds(1, 4))["logits"].shape == (1, 3)
    engine.close()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"gpus": ("sm_90",)}, "for sm_90; here is .* with sm_89"),
        ({"version": "10.15.0.1"}, r"10\.15\.0\.1 for sm_89; here is"),
        ({"version": "10.15.0.1", "compatible": ("hardware",)}, r"10\.15\.0\.1"),
        ({"gpus": ("sm_90",), "compatible": ("version",)}, "sm_90"),
        ({"version": "99.0.0.1", "compatible": ("version",)}, r"99\.0\.0\.1"),
        ({"variant": "int8/tensorrt"}, "There is no .* plan of fp16/tensorrt on this machine"),
    ],
)
def test_a_plan_of_another_gpu_or_version_is_refused_before_tensorrt_reads_it(machine, fields, words):
    made = machine(plan=False)
    made.store(**fields)
    with pytest.raises(EngineMismatch, match=words) as caught:
        open_on(made)
    assert f"bvx build {made.bundle.path} --engine tensorrt --precision fp16" in str(caught.value)
    assert not [name for name, _ in made.trt.calls if name == "Runtime"]


@pytest.mark.parametrize(
    "fields",
    [
        {"version": "10.15.0.1", "compatible": ("version",)},
        {"gpus": ("sm_80",), "compatible": ("hardware",)},
        {"gpus": ("sm_80", "sm_89")},
    ],
)
def test_a_compatible_plan_is_taken(machine, fields):
    made = machine(plan=False)
    made.store(**fields)
    engine = open_on(made)
    allowed = [value for name, value in made.trt.calls if name == "Runtime.engine_host_code_allowed"]
    assert allowed == ([True] if "version" in fields.get("compatible", ()) else [])
    engine.close()


def test_a_plan_that_was_changed_is_refused(machine):
    made = machine(plan=False)
    made.store().write_bytes(b"a plot")
    with pytest.raises(BundleError, match="was changed"):
        open_on(made)


def test_a_plan_that_tensorrt_cannot_read_names_gpu_and_driver(machine, fake_trt):
    made = machine()
    module = fake_trt("11.4.0.106", {"Runtime.deserialize_cuda_engine": None})
    with pytest.raises(EngineMismatch, match=r"cannot read the plan .* Fake GPU \(driver for CUDA 13\.0\)"):
        open_on(made)
    assert module.calls


def test_without_a_gpu_tensorrt_is_never_touched(machine):
    made = machine(devices=0)
    with pytest.raises(EngineMismatch, match=r"no NVIDIA GPU here.*--gpus all"):
        load(made.bundle.path)
    assert not made.trt.calls


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_refused(machine):
    engine = open_on(machine())
    engine._process += 1
    with pytest.raises(EngineMismatch, match="before the process forked"):
        engine.run(feeds(1, 4))
