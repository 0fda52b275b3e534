"""The page and the picture of `make bench`, made of recorded documents: lost cells are there like the others."""

from __future__ import annotations

import importlib
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="the picture's library is not installed: pip install bvx[report]")

ENGINES = {
    "bvx onnxruntime fp32": 10.0,
    "bvx openvino int8": 5.0,
    "torch": 20.0,
    "openvino-nncf": 4.0,
    "openvino": 10.0,
}


@pytest.fixture
def scripts(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def document(make_document):
    made = make_document(ENGINES, shapes=((1, 16), (8, 128)))
    for one in made["contenders"]:
        one["precision"] = "int8" if "int8" in one["contender"] or "nncf" in one["contender"] else "fp32"
    made["models"] = [{"model": "a.bvx", "task": "fill-mask", "parameters": 1000, "random": True}]
    made["contenders"].append({**made["contenders"][0], "contender": "ctranslate2", "skipped": "no <such> model"})
    made["texts"] = [
        {"contender": "torch", "threads": 1, "texts": 10, "batch": 64, "milliseconds": 10.0, "tokenise": 1.0}
        | {"texts_per_second": 1000.0, "tokens_per_second": 1.0, "padded": None}
    ]
    return made


def test_a_target_is_judged_by_the_interval_of_the_ratio(scripts, document):
    found = {(one.target.other, one.batch): one for one in scripts("targets").judge_all(document)}
    assert found["openvino-nncf", 1].beside == "lost" and found["openvino-nncf", 1].reached == "missed"
    assert found["torch", 1].beside == "won" and found["torch", 1].reached == "reached"
    assert found["openvino", 1].beside == "no difference" and found["openvino", 1].reached == "open"
    assert found["torch", 1].low < found["torch", 1].ratio < found["torch", 1].high
    assert ("optimum-int8", 1) not in found


def test_the_page_has_every_cell_lost_ones_too_and_what_was_not_measured(scripts, document):
    lines = list(scripts("bench_tables").describe_documents({"a": document}, {"fp32": 0.9, "openvino-nncf": 0.8}))
    text = "\n".join(lines)
    (row,) = (line for line in lines if line.startswith("| openvino-nncf | int8 | 1 |"))
    assert row.count("**lost**") == 2
    assert "Of 6 cells bvx won 2 and lost 2; in 2 there is no difference." in text
    (row,) = (line for line in lines if line.startswith("| openvino-nncf | int8 |") and line.endswith("| 0.8000 |"))
    assert row.count("**") == 4  # the fastest of both columns
    assert "- ctranslate2: no (such) model" in text
    assert "**Incomplete**" not in text
    assert "**Incomplete**" in "\n".join(
        scripts("bench_tables").describe_documents({"a": {**document, "complete": False}}, {})
    )


def test_quality_is_what_the_page_on_precision_measured(scripts):
    rows = [
        {"model": "a", "tool": "bvx, cpu", "before": 0.9, "after": 0.8},
        {"model": "a", "tool": "NNCF", "before": 0.9, "after": 0.7},
        {"model": "b", "tool": "NNCF", "before": 0.1, "after": 0.1},
        {"model": "a", "tool": "Optimum, dynamic", "failed": "words"},
    ]
    found = scripts("bench_tables").find_quality({"rows": rows}, "a")
    assert found == {"fp32": 0.9, "bvx int8": 0.8, "openvino-nncf": 0.7}


def test_the_picture_has_words_and_colours_for_dark_pages(scripts, document, tmp_path):
    path = tmp_path / "latency.svg"
    for cell in document["cells"]:
        if cell["contender"] == "torch" and cell["batch"] == 1:
            cell |= {"p50": 500.0, "low": 490.0, "high": 510.0}
    scripts("bench_picture").draw_picture(document, 1, path)
    text = path.read_text()
    tree = ElementTree.fromstring(text)
    described = next(node.text for node in tree.iter() if node.tag.endswith("}desc"))
    assert "1x16: openvino-nncf int8" in described and "torch fp32 500" in described
    assert "500 ▸" in text  # cut off, and its figure is there
    assert "prefers-color-scheme: dark" in text
    width = float(re.search(r'width="([\d.]+)"', text)[1])
    assert width < 900


def test_only_what_stands_between_the_comments_is_written(scripts, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nbelow\n")
    for _ in range(2):
        scripts("pages").replace_measured(page, ["new"])
        assert page.read_text() == "above\n<!-- measured: begin -->\nnew\n<!-- measured: end -->\nbelow\n"


def test_one_command_measures_every_model_and_writes_page_and_picture(scripts, document, tmp_path, monkeypatch):
    bench = scripts("bench_all")
    docs, typed = tmp_path / "docs", []
    docs.mkdir()
    (docs / "benchmarks.md").write_text("# Page\n<!-- measured: begin -->\n<!-- measured: end -->\n")

    def call(words):
        typed.append(list(words))
        if words[0] == "bench" and "roberta-base.bvx" not in words[1]:
            (docs / "benchmarks" / f"{Path(words[1]).stem}.json").write_text(json.dumps(document))
        return int("roberta-base" in words[1])

    monkeypatch.setattr(bench, "_call", call)
    monkeypatch.setattr(bench, "_find_minilm", lambda: "checkpoint")
    words = ["bench_all.py", "--minutes", "10", "--docs", str(docs), "--work", str(tmp_path / "work")]
    monkeypatch.setattr(sys, "argv", [*words, "--shared", str(tmp_path / "nowhere"), "--models", "albert-base-v2"])
    (tmp_path / "work").mkdir()
    assert bench.main() == 0
    monkeypatch.setattr(sys, "argv", [*words, "--shared", str(tmp_path / "nowhere")])
    assert bench.main() == 0  # a model that cannot be exported takes nothing else with it
    measured = [one for one in typed if one[0] == "bench"]
    assert [Path(one[1]).stem for one in measured] == ["albert-base-v2", "all-MiniLM-L6-v2", "albert-base-v2"]
    minutes = [float(one[one.index("--minutes") + 1]) for one in measured]
    assert minutes[0] == pytest.approx(10, abs=0.1) and minutes[1] == pytest.approx(5.5, abs=0.1)
    assert "--texts" in measured[1] and "--texts" not in measured[2]
    page = (docs / "benchmarks.md").read_text()
    assert "### all-MiniLM-L6-v2" in page and "### albert-base-v2" in page and "### roberta-base" not in page
    assert (docs / "benchmarks" / "latency.svg").exists()


def test_a_bundle_is_made_again_when_what_made_it_has_changed(scripts, tmp_path, monkeypatch):
    bench = scripts("bench_all")
    subject = next(one for one in bench.find_subjects() if one.name == "albert-base-v2")
    typed = []
    monkeypatch.setattr(bench, "_call", lambda words: typed.append(words) or 0)
    (tmp_path / "albert-base-v2.bvx").mkdir()
    for sources, times in (("a", 1), ("a", 1), ("b", 2)):
        monkeypatch.setattr(bench, "_hash_sources", lambda sources=sources: sources)
        assert bench.make_bundle(subject, tmp_path, tmp_path / "nowhere", fresh=False)
        assert len(typed) == times
    bench.make_bundle(subject, tmp_path, tmp_path / "nowhere", fresh=True)
    assert len(typed) == 3


def test_reruns_that_are_accused_and_a_slowdown_that_is_not_noticed_fail(scripts, make_document, tmp_path, capsys):
    noise, engines = scripts("compare_noise"), {"bvx a": 10.0}
    page = tmp_path / "page.md"
    page.write_text("<!-- measured: begin -->\n<!-- measured: end -->\n")
    same = [make_document(engines, seed=seed) for seed in range(4)]
    slow = make_document(engines, seed=9, slow=1.2)
    assert noise.report([*same, slow], 0.05, page) == 0
    assert "0 of 6 cells in 3 reruns are accused" in page.read_text()
    assert "noticed in 2 of 2 cells" in page.read_text() and "rerun 3" in capsys.readouterr().out
    assert noise.report([same[0], slow, slow], 0.05, None) == 1
    assert noise.report([*same, same[1]], 0.05, None) == 1
    slow["machine"]["noise"]["waited"] = 0.7
    assert noise.report([*same, slow], 0.05, page) == 1
    assert "too busy" in page.read_text()
