"""What is measured beside bvx: the same tokens, counted the same way, in an ONNX file that this Python can run."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import bvx
from bvx.exporter.bench import contenders, other_tools
from bvx.exporter.bench.contenders import find_contenders
from bvx.exporter.bench.plan import BenchPlan
from bvx.exporter.bench.serve import make_feeds, serve
from bvx.exporter.bench.serve_bundle import open_bundle

TEXTS = ["one text", "and another, that is longer than the first", "x", "the last one"]


@pytest.fixture(scope="module")
def bundle(exported):
    return exported("bert", "feature-extraction").bundle


@pytest.fixture
def asked(bundle, tmp_path):
    """What the process of a tool is told of the bundle; `file` is the tool, its graph the bundle's own."""
    plan = BenchPlan((str(bundle),), against=("torch",))
    (request,) = (one.request for one in find_contenders(plan, tmp_path) if one.request["tool"] == "torch")
    return {**request, "tool": "file", "path": str(bundle / "onnx/model.onnx")}


def test_texts_are_tokenised_as_the_bundle_does_and_padded_as_they_come(asked, bundle, monkeypatch):
    ran = []
    monkeypatch.setitem(other_tools._OPEN, "file", lambda work, asked: (ran.append, "engine", "1"))
    found = serve(other_tools.open_tool(asked), {"do": "texts", "texts": TEXTS, "batch": 2})
    with bvx.load(bundle) as model:
        expected = [model.tokenize(TEXTS[:2]), model.tokenize(TEXTS[2:])]
    assert len(ran) == 2
    for feeds, wanted in zip(ran, expected, strict=True):
        assert set(feeds) == set(wanted)
        for name in wanted:
            np.testing.assert_array_equal(feeds[name], wanted[name])
    assert found["tokens"] == sum(int(one["attention_mask"].sum()) for one in expected)
    assert 0 < found["tokenise"] < found["whole"]


def test_a_bundle_counts_the_same_tokens_and_says_what_padding_costs(asked, bundle):
    ours = open_bundle({"bundle": str(bundle), "precision": "fp32", "engine": "auto", "threads": 1})
    found = serve(ours, {"do": "texts", "texts": TEXTS, "batch": 2})
    theirs = serve(other_tools.open_tool(asked), {"do": "texts", "texts": TEXTS, "batch": 2})
    assert found["tokens"] == theirs["tokens"]
    assert found["padded"] > found["tokenise"] and "padded" not in theirs


def test_a_file_runs_with_the_inputs_that_it_has(asked):
    opened = other_tools.open_tool(asked)
    (states, *_) = opened.run(make_feeds(opened.names, 2, 7, opened.vocabulary))
    assert states.shape[:2] == (2, 7)
    assert opened.facts["engine"] == "onnxruntime" and opened.facts["longest"] == asked["longest"]


def test_files_of_other_tools_are_made_once_for_an_architecture_and_a_task(asked, bundle, tmp_path, monkeypatch):
    plan = BenchPlan((str(bundle),), against=("optimum",), peers=sys.prefix)
    found, again = (next(one for one in find_contenders(plan, tmp_path) if one.tool == "optimum") for _ in range(2))
    assert found.request["work"] == again.request["work"]
    calls = []
    answer = SimpleNamespace(stdout='{"ready": {}}', stderr="")
    monkeypatch.setattr(contenders.subprocess, "run", lambda *given, **named: calls.append(given) or answer)
    assert contenders.prepare(found, {}) == contenders.prepare(again, {}) == ""
    assert len(calls) == 1


def test_a_tool_that_cannot_take_the_model_says_so_and_is_tried_again(asked, bundle, tmp_path, monkeypatch):
    plan = BenchPlan((str(bundle),), against=("ctranslate2",), peers=sys.prefix)
    found = next(one for one in find_contenders(plan, tmp_path) if one.tool == "ctranslate2")
    answer = SimpleNamespace(stdout='{"failed": "no such architecture"}', stderr="")
    monkeypatch.setattr(contenders.subprocess, "run", lambda *given, **named: answer)
    for _ in range(2):
        assert contenders.prepare(found, {}) == "ctranslate2 cannot take this model: no such architecture"


def test_what_is_compiled_for_each_shape_does_not_read_texts(asked, monkeypatch):
    monkeypatch.setitem(other_tools._OPEN, "torch-compile", lambda work, asked: (print, "engine", "1"))
    opened = other_tools.open_tool({**asked, "tool": "torch-compile"})
    assert opened.texts is None
    with pytest.raises(ValueError, match="does not read texts"):
        serve(opened, {"do": "texts", "texts": TEXTS, "batch": 2})
