"""Variants are judged beside the full-precision model, and what loses too much is not published."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bvx.exporter.calibration_plan import CalibrationPlan
from bvx.exporter.pipeline import ExportResult, export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.errors import AccuracyLost, CalibrationError
from bvx.runtime.loading import load


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("bert", "text-classification", tmp_path_factory.mktemp("checkpoint"), num_hidden_layers=2)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join(f"the {word} is here {number}" for number, word in enumerate(["cat", "dog", "sea"] * 20)))
    return path


@pytest.fixture(scope="module")
def plan(checkpoint: Path, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportPlan:
    calibration = CalibrationPlan(texts=str(texts), samples=40)
    out = tmp_path_factory.mktemp("out") / "bundle"
    return ExportPlan(str(checkpoint), out, precisions=("fp32", "int8"), calibration=calibration)


@pytest.fixture(scope="module")
def made(plan: ExportPlan) -> ExportResult:
    return export(plan)


def test_without_labels_the_answers_to_the_calibration_texts_are_compared(made: ExportResult):
    accuracy = made.manifest.accuracy["int8/cpu"]
    assert accuracy["metric"] == "agreement" and accuracy["before"] == 1.0
    assert accuracy["compared"] == 40 and accuracy["source"] == "texts.txt"
    assert set(made.manifest.accuracy) == {"int8/cpu"}


def test_every_variant_that_runs_here_is_timed_and_one_is_recommended(made: ExportResult):
    assert set(made.manifest.latency) == {"fp32/cpu", "int8/cpu"}
    fastest = min(made.manifest.latency, key=lambda key: made.manifest.latency[key]["milliseconds"])
    assert made.manifest.recommended == fastest


def test_the_texts_are_named_by_their_digest_alone(made: ExportResult, texts: Path):
    info = made.manifest.calibration
    assert info is not None and info.source == "texts.txt" and info.samples == 40 and info.lines == 60
    assert "the cat is here" not in (made.path / "bvx.json").read_text()
    assert made.manifest.files and (made.path / "ranges.safetensors").is_file()


def test_int8_answers_through_the_runtime(made: ExportResult):
    with load(made.path, precision="int8", threads=1) as model:
        assert model.precision == "int8" and model("the cat is here")["label"] in model.labels
        assert model.verify()


def test_labelled_data_gives_a_metric_and_bounds_it(plan: ExportPlan, made: ExportResult, tmp_path: Path):
    """The labels are what fp32 says but for one, so that any change costs accuracy."""
    asked = [f"a {word} of {number}" for number, word in enumerate(["cat", "dog"] * 10)]
    with load(made.path, precision="fp32", threads=1) as model:
        found = [answer["label"] for answer in model(asked)]
    labelled = tmp_path / "dev.jsonl"
    rows = [{"text": text, "label": label} for text, label in zip(asked, found, strict=True)]
    labelled.write_text("\n".join(map(json.dumps, rows)))
    calibration = replace(plan.calibration, labelled=str(labelled), max_drop=0.999)
    result = export(replace(plan, out=tmp_path / "bundle", calibration=calibration))
    accuracy = result.manifest.accuracy["int8/cpu"]
    assert accuracy["metric"] == "accuracy" and accuracy["before"] == 1.0 and accuracy["examples"] == 20
    assert accuracy["after"] == pytest.approx(1 - accuracy["changed"] / 20)


def test_labelled_data_that_cannot_be_read_is_refused_before_anything_is_traced(plan: ExportPlan, tmp_path: Path):
    labelled = tmp_path / "dev.jsonl"
    labelled.write_text('{"text": "a cat", "label": "no such label"}\n' * 3)
    calibration = replace(plan.calibration, labelled=str(labelled))
    with pytest.raises(CalibrationError, match=r"dev\.jsonl.*no such label"):
        export(replace(plan, out=tmp_path / "bundle", calibration=calibration))
    assert not (tmp_path / "bundle").exists()


def test_pick_puts_the_recommended_variant_first(plan: ExportPlan, tmp_path: Path):
    result = export(replace(plan, out=tmp_path / "bundle", pick=True))
    assert result.manifest.variants[0].key == result.manifest.recommended


def test_what_loses_too_much_is_not_published(
    plan: ExportPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge for whom every answer has changed."""
    from bvx.calibration.evaluation import judge

    real = judge.agree

    def all_changed(source, before, after):
        found = real(source, before, after)
        return replace(found, after=0.0, changed=found.compared)

    monkeypatch.setattr(judge, "agree", all_changed)
    calibration = replace(plan.calibration, max_drop=0.005)
    with pytest.raises(AccuracyLost, match=r"int8 loses 100\.00%.*best that was found") as lost:
        export(replace(plan, out=tmp_path / "bundle", calibration=calibration))
    assert lost.value.exit_code == 3
    assert not (tmp_path / "bundle").exists()
    # With `pick` the full-precision variant is what is left.
    result = export(replace(plan, out=tmp_path / "bundle", calibration=calibration, pick=True))
    assert result.manifest.recommended == "fp32/cpu" and result.manifest.variants[0].key == "fp32/cpu"
