"""`bvx bench`: what it measures, writes, leaves out with a sentence, and refuses; `--compare` and its exit code."""

from __future__ import annotations

import json
import sys

import pytest

from bvx.exporter.bench import measure as measuring
from bvx.exporter.bench.contenders import find_peers
from bvx.exporter.cli.bench import name_json_file

FEW = ("--shapes", "1x8,2x16", "--rounds", "5")


@pytest.fixture
def write(tmp_path):
    def make(name, document):
        path = tmp_path / name
        path.write_text(json.dumps(document))
        return path

    return make


def test_a_bundle_is_measured_and_the_document_and_the_tables_agree(bvx, features, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("one text\n\nand another\n")
    done = bvx("bench", features, *FEW, "--texts", texts, "--concurrency", "1,2", "--json", "report.json")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["complete"] and document["format"] == 1
    assert [(cell["batch"], cell["length"]) for cell in document["cells"]] == [(1, 8), (2, 16)]
    for cell in document["cells"]:
        assert len(cell["turns"]) == len(cell["work"]) == 5 and min(cell["work"]) > 0
        assert cell["low"] <= cell["p50"] <= cell["high"]
        assert cell["p50"] <= cell["p90"] <= cell["p95"] <= cell["p99"]
        assert cell["tokens_per_second"] == pytest.approx(cell["texts_per_second"] * cell["length"])
    assert [row["level"] for row in document["concurrency"]] == [1, 2]
    (read,) = document["texts"]
    assert read["texts"] == 2 and read["tokenise"] > 0 and read["tokens"] > 4
    (contender,) = document["contenders"]
    assert contender["load"] > 0 and contender["peak_bytes"] > 10_000_000
    assert document["machine"]["noise"]["yardstick"] > 0 and 0 <= document["machine"]["noise"]["waited"] < 1
    assert "1x8, 1 thread, milliseconds" in done.out and "report.json" in done.out


def test_json_without_a_file_prints_the_document(bvx, features):
    done = bvx("bench", features, "--shapes", "1x8", "--rounds", "5", "--json")
    assert done.code == 0 and done.document["complete"]
    assert {cell["verdict"] for cell in done.document["cells"]} == {"baseline"}


def test_what_cannot_be_measured_is_left_out_with_a_sentence(bvx, features, monkeypatch, tmp_path):
    monkeypatch.setenv("BVX_PEERS", str(tmp_path / "nowhere"))
    words = ("--precision", "fp32,int2", "--shapes", "1x8,1x9999", "--against", "torch,optimum", "--rounds", "5")
    done = bvx("bench", features, *words, "--json")
    assert done.code == 0, done.err
    skipped = {one["contender"]: one["skipped"] for one in done.document["contenders"] if "skipped" in one}
    assert "no int2 variant" in skipped["bvx auto int2"]
    assert "make peers" in skipped["torch"] and "make peers" in skipped["optimum"]
    measured = [cell for cell in done.document["cells"] if "turns" in cell]
    (left_out,) = (cell for cell in done.document["cells"] if "skipped" in cell)
    assert len(measured) == 1 and "at most" in left_out["skipped"]


def test_an_engine_and_another_tool_of_the_same_name_are_two(bvx, features, monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    monkeypatch.setenv("BVX_PEERS", str(tmp_path / "nowhere"))
    words = ("--engine", "openvino", "--shapes", "1x8", "--against", "openvino", "--rounds", "5")
    done = bvx("bench", features, *words, "--json")
    assert done.code == 0, done.err
    found = {(one["contender"], one["ours"], "skipped" in one) for one in done.document["contenders"]}
    assert found == {("bvx openvino fp32", True, False), ("openvino", False, True)}


def test_ctrl_c_writes_what_was_measured_marked_incomplete(bvx, features, monkeypatch, tmp_path):
    real, calls = measuring.Worker.ask, []

    def ask(worker, do, **words):
        calls.append(do)
        if calls.count("run") == 8:  # the first shape is done, the second has two turns
            raise KeyboardInterrupt
        return real(worker, do, **words)

    monkeypatch.setattr(measuring.Worker, "ask", ask)
    done = bvx("bench", features, *FEW, "--json", "report.json")
    assert done.code == 130
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["complete"] is False
    assert [len(cell["turns"]) for cell in document["cells"]] == [5, 2]
    assert "INCOMPLETE" in done.out


def test_a_process_that_dies_takes_nothing_else_with_it(bvx, features, monkeypatch):
    real = measuring.Worker.ask

    def ask(worker, do, **words):
        if do == "warm" and words["length"] == 8:
            worker._process.kill()
        return real(worker, do, **words)

    monkeypatch.setattr(measuring.Worker, "ask", ask)
    done = bvx("bench", features, *FEW, "--json")
    assert done.code == 0, done.err
    assert all("ended with code" in cell["skipped"] for cell in done.document["cells"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "No bundle"),
        (("b", "--engine", "abacus"), "no engine abacus"),
        (("b", "--against", "abacus"), "--against knows no abacus"),
        (("b", "--shapes", "8"), "no shape"),
        (("b", "--shapes", "0x8"), "no shape"),
        (("b", "--threads", "two"), "--threads"),
        (("b", "--rounds", "2"), "--rounds"),
        (("b", "--rounds", "2", "--engine", "abacus"), "--rounds"),
        (("b", "--compare", "x.json", "y.json"), "measures nothing"),
        (("--compare", "x.json", "y.json", "--fail-above", "much"), "--fail-above"),
        (("--compare", "x.json", "y.json"), "cannot be read"),
    ],
)
def test_words_that_make_no_sense_are_refused(bvx, words, said):
    done = bvx("bench", *words)
    assert done.code == 2 and said in done.err


def test_a_baseline_that_was_not_measured_is_refused_with_those_that_were(bvx, features):
    done = bvx("bench", features, "--shapes", "1x8", "--rounds", "5", "--baseline", "torch")
    assert done.code == 2 and "bvx onnxruntime fp32" in done.err


def test_comparing_says_what_got_slower_and_exits_with_three(bvx, make_document, write):
    engines = {"bvx onnxruntime fp32": 10.0}
    old, new = write("old.json", make_document(engines)), write("new.json", make_document(engines, seed=1, slow=1.2))
    done = bvx("bench", "--compare", old, new)
    assert done.code == 3
    assert "bvx onnxruntime fp32 at 1x16 on 1 thread got slower" in done.out
    assert bvx("bench", "--compare", old, new, "--fail-above", "40%").code == 0
    again = bvx("bench", "--compare", old, write("again.json", make_document(engines, seed=2)), "--json")
    assert again.code == 0 and again.document["passed"] and len(again.document["changes"]) == 2


def test_a_document_of_another_format_or_kind_is_refused(bvx, make_document, write):
    old = write("old.json", make_document({"a": 1.0}))
    assert "format 99" in bvx("bench", "--compare", old, write("b.json", {"format": 99, "cells": []})).err
    assert "is not what" in bvx("bench", "--compare", old, write("c.json", {"format": 1})).err


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (("bench", "b", "--json", "r.json"), ["bench", "b", "--json-file", "r.json"]),
        (("bench", "--json", "b"), ["bench", "--json", "b"]),
        (("-v", "bench", "--json"), ["-v", "bench", "--json"]),
        (("run", "--json", "r.json"), ["run", "--json", "r.json"]),
    ],
)
def test_json_names_a_file_where_one_follows(words, read):
    assert name_json_file(words) == read


def test_the_other_tools_are_found_where_they_are_named(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setenv("BVX_PEERS", str(tmp_path))
    assert find_peers(None) == (tmp_path / "bin" / "python", "")
    found, why = find_peers(str(tmp_path / "other"))
    assert found is None and "make peers" in why


def test_a_page_that_cannot_be_made_is_refused_before_anything_is_measured(bvx, features, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr(measuring, "measure", lambda *given: pytest.fail("measured"))
    done = bvx("bench", features, "--out", "report.html")
    assert done.code == 1 and "pip install bvx[report]" in done.err
