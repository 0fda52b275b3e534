"""What is told of a bundle, and how it reads."""

from __future__ import annotations

import json

import pytest

from bvx.exporter.inspection import describe, describe_export, summarise_rows
from bvx.exporter.layout import Table, format_bytes, lay_out
from bvx.exporter.views import view_bundle
from bvx.runtime.bundle import Bundle


@pytest.fixture(scope="session")
def bundle(exported):
    return Bundle.open(exported("electra", "text-classification").bundle)


def row(output="logits", **changes):
    values = {"max_abs": 1e-6, "mean_abs": 1e-7, "cosine": 1.0, "argmax": 1.0, "passed": True}
    return {"output": output, "case": "short", "batch": 1, "length": 4, **values, **changes}


def test_a_description_is_json_and_holds_what_the_manifest_says(bundle):
    document = describe(bundle)
    assert json.loads(json.dumps(document)) == json.loads(json.dumps(document))
    assert document["family"] == "electra"
    assert document["task"] == "text-classification"
    assert [tensor["name"] for tensor in document["outputs"]] == ["logits"]
    (variant,) = document["variants"]
    assert variant["bytes"] == (bundle.root / variant["file"]).stat().st_size
    assert variant["parity"][0]["passed"] is True
    assert document["passes"]["canonical"]


def test_a_person_reads_the_same(bundle):
    text = "\n".join(lay_out(view_bundle(describe(bundle))))
    for word in ("electra, text-classification", "fp32/cpu", "verified", "input_ids int64", "LABEL_0", "logits"):
        assert word in text


def test_weights_that_were_never_trained_are_named(bundle):
    document = describe(bundle)
    assert "never trained" not in "\n".join(lay_out(view_bundle(document)))
    document["model"]["new_weights"] = ["classifier.bias", "classifier.weight"]
    (line,) = (line for line in lay_out(view_bundle(document)) if "never trained" in line)
    assert line.endswith("classifier.bias, classifier.weight")


def test_the_next_step_of_an_export_can_be_pasted(bundle, tmp_path):
    document = describe_export(bundle.root, tmp_path / "with space", ["careful"])
    run, verify = document["next"]
    assert run.startswith(f"bvx run '{tmp_path}/with space' ")
    assert verify == f"bvx verify '{tmp_path}/with space'"
    assert document["warnings"] == ["careful"]


def test_the_worst_of_each_measure_is_kept_per_output():
    rows = [row(), row(max_abs=3e-6, cosine=0.99, case="long"), row("pooler_output", argmax=0.5)]
    logits, pooler = summarise_rows(rows)
    assert (logits["max_abs"], logits["cosine"], logits["case"]) == (3e-6, 0.99, "long")
    assert logits["comparisons"] == 2
    assert pooler["argmax"] == 0.5


def test_what_could_not_be_measured_is_worse_than_any_number():
    (summary,) = summarise_rows([row(max_abs=5.0), row(max_abs=None, cosine=None, passed=False, case="infinite")])
    assert summary["max_abs"] is None
    assert summary["cosine"] is None
    assert summary["case"] == "infinite"
    assert summary["passed"] is False


def test_rows_of_another_bvx_may_lack_fields():
    (summary,) = summarise_rows([{"output": "logits"}])
    assert summary["max_abs"] is None
    assert summary["passed"] is False


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (46_700_000, "46.7 MB"), (2_500_000_000, "2.5 GB"), (None, "unknown")],
)
def test_sizes_are_decimal(count, text):
    assert format_bytes(count) == text


def test_columns_line_up_with_wide_and_combining_characters():
    lines = list(lay_out([Table("", ("name", "n"), (("漢字", "1"), ("e\u0301te", "2"), ("four", "3")))]))
    assert lines == ["name  n", "漢字  1", "e\u0301te   2", "four  3"]
