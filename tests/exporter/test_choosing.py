"""Choosing the engine for the CPU: by medians of all shapes, and never one that says something else than PyTorch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bvx.exporter import choosing
from bvx.exporter.build_views import view_choosing
from bvx.exporter.choosing import choose_engines, pick
from bvx.exporter.engines import BuildRequest, check_for_cpu
from bvx.exporter.layout import lay_out
from bvx.runtime.choices import list_choices
from bvx.runtime.errors import BundleError, PlanError

ORDER = ("onnxruntime", "openvino")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BVX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def bundle(exported):
    return exported("bert", "text-classification").bundle


@pytest.fixture
def measured(monkeypatch):
    """Stands for the measuring: OpenVINO takes half as long. What it was asked for, and what it is to say."""
    said = SimpleNamespace(plan=None, complete=True, engines=dict.fromkeys(ORDER, "1.0"))

    def measure(plan, progress):
        said.plan = plan
        contenders, cells = [], []
        for threads in plan.threads:
            for engine, time in zip(plan.engines, (10.0, 5.0), strict=True):
                key = {"contender": f"bvx {engine} fp32", "threads": threads}
                contenders.append({**key, "engine": engine, "variant": "fp32/cpu", "precision": "fp32"})
                cells += [{**key, "batch": batch, "length": length, "p50": time} for batch, length in plan.shapes]
        cells.append({**cells[0], "skipped": "why"} | {"p50": 1.0, "contender": "another"})
        return SimpleNamespace(contenders=contenders, cells=cells, complete=said.complete)

    monkeypatch.setattr(choosing, "measure", measure)
    monkeypatch.setattr(choosing, "engines_here", lambda: said.engines)
    monkeypatch.setattr(choosing, "allowed_cores", lambda: 2)
    return said


def test_the_fastest_over_all_shapes_is_chosen_and_the_first_where_it_hardly_matters():
    slow, fast = {"1x16": 10.0, "8x128": 100.0}, {"1x16": 11.0, "8x128": 50.0}
    assert pick({"onnxruntime": slow, "openvino": fast}, ORDER) == "openvino"
    assert pick({"onnxruntime": fast, "openvino": slow}, ORDER) == "onnxruntime"
    assert pick({"onnxruntime": {"1x16": 10.4}, "openvino": {"1x16": 10.0}}, ORDER) == "onnxruntime"
    assert pick({"onnxruntime": {"1x16": 9.0, "8x128": 1.0}, "openvino": {"1x16": 5.0}}, ORDER) == "openvino"
    assert pick({"openvino": fast}, ORDER) == "openvino"


def test_what_was_measured_is_kept_for_one_thread_and_for_all_cores(bundle, measured, monkeypatch):
    monkeypatch.setattr(choosing, "_is_proven", lambda *others: True)
    document = choose_engines(str(bundle))
    assert (measured.plan.engines, measured.plan.precisions, measured.plan.threads) == (ORDER, ("fp32",), (1, 2))
    assert all(length <= 512 for _, length in measured.plan.shapes)
    assert [(one["threads"], one["engine"]) for one in document["choices"]] == [(1, "openvino"), (2, "openvino")]
    assert [(one.threads, one.engine) for one in list_choices()] == [(1, "openvino"), (2, "openvino")]
    shown = "\n".join(lay_out(view_choosing(document)))
    assert "fp32/cpu" in shown and "openvino 1x" in shown and document["file"] in shown


def test_an_engine_that_says_something_else_than_pytorch_is_not_chosen(bundle, measured, monkeypatch):
    monkeypatch.setattr(choosing, "_is_proven", lambda bundle, cell, engine: engine == "onnxruntime")
    assert {one["engine"] for one in choose_engines(str(bundle))["choices"]} == {"onnxruntime"}


def test_proof_is_the_bundles_own_verification(bundle, measured):
    pytest.importorskip("openvino")
    assert {one["engine"] for one in choose_engines(str(bundle))["choices"]} == {"openvino"}


def test_an_interrupted_measurement_is_not_kept(bundle, measured):
    measured.complete = False
    with pytest.raises(KeyboardInterrupt):
        choose_engines(str(bundle))
    assert not list_choices()


def test_one_engine_leaves_nothing_to_choose(bundle, measured):
    measured.engines = {"onnxruntime": "1.0"}
    document = choose_engines(str(bundle))
    assert measured.plan is None and not document["choices"] and document["file"] is None
    assert "nothing to choose" in "\n".join(lay_out(view_choosing(document)))


def test_a_precision_that_is_not_there_is_refused(bundle):
    with pytest.raises(BundleError, match=r"has no int8/cpu\. It has: fp32/cpu"):
        choose_engines(str(bundle), "int8,fp32")


def test_what_only_a_gpus_engine_takes_is_refused():
    check_for_cpu(BuildRequest("a.bvx", "cpu", "int8"))
    with pytest.raises(PlanError, match="Nothing is built for a CPU"):
        check_for_cpu(BuildRequest("a.bvx", "cpu", gpus="sm_89"))
