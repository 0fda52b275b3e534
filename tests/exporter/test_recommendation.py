"""Variants are timed in turns, and the fastest that may be served is picked."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from bvx.exporter import recommendation
from bvx.exporter.recommendation import pick, time_variants
from bvx.runtime.manifest import Variant


class Model:
    """Stands for an encoder: keeps what it was run with, and in which order."""

    def __init__(self, name: str, ran: list[str], max_length: int = 512) -> None:
        tokenizer = SimpleNamespace(pad_id=1)
        self.manifest = SimpleNamespace(input_limits={"input_ids": 3}, tokenizer=tokenizer)
        self.engine = SimpleNamespace(name="engine", version="1", threads=2)
        self.max_length, self.name, self.ran = max_length, name, ran

    def run(self, **feeds):
        self.ran.append(self.name)
        self.feeds = feeds


def test_models_run_in_turns_on_ids_without_padding():
    ran: list[str] = []
    models = {"fp32/cpu": Model("a", ran), "int8/cpu": Model("b", ran, max_length=64)}
    found = time_variants(models, (2, 128))
    assert ran == ["a", "b"] * (len(ran) // 2)
    ids = models["fp32/cpu"].feeds["input_ids"]
    assert ids.shape == (2, 64) and ids.dtype == np.int64
    assert set(np.unique(ids)) == {0, 2}
    assert found["int8/cpu"] == {
        "batch": 2, "length": 64, "threads": 2, "engine": "engine 1", "milliseconds": found["int8/cpu"]["milliseconds"],
    }  # fmt: skip


def test_the_figure_is_the_median_of_the_runs_after_the_warm_up(monkeypatch):
    # Three runs to warm up, which read no clock after the beginning; then fifteen of 1, 2, … 15 ms.
    reads = iter([reading for run in range(18) for reading in ((run, 0), (run, max(run - 2, 0)))])

    def clock() -> float:
        run, spent = next(reads)
        if run < 3:
            next(reads)
            return float(run)
        return run + spent / 1000

    monkeypatch.setattr(recommendation.time, "perf_counter", clock)
    found = time_variants({"fp32/cpu": Model("a", [])})
    assert found["fp32/cpu"]["milliseconds"] == 8.0


VARIANTS = (
    Variant("fp32", "cpu", "onnx/model.onnx", "verified"),
    Variant("int8", "cpu", "onnx/model_int8.onnx", "verified"),
    Variant("int8-dynamic", "cpu", "onnx/d.onnx", "verified", batch_dependent=True),
    Variant("int8", "tensorrt", "onnx/t.onnx", "not-runnable-here"),
)
TIMES = {"fp32/cpu": 9.0, "int8/cpu": 4.0, "int8-dynamic/cpu": 2.0}


def test_the_fastest_is_picked_but_never_one_whose_answers_depend_on_the_batch():
    assert pick(VARIANTS, TIMES, {}) == "int8/cpu"


def test_what_lost_too_much_or_was_not_timed_is_not_picked():
    assert pick(VARIANTS, TIMES, {"int8/cpu": "lost 3 points"}) == "fp32/cpu"
    assert pick(VARIANTS, {}, {}) == ""
