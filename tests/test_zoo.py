"""The zoo's checkpoints load, export, reach through the runtime what they say, and have the channels that they say."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from transformers import AutoTokenizer

import bvx
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan

MODELS = Path(__file__).resolve().parent.parent / "examples" / "zoo" / "models"
NAMES = sorted(path.name for path in MODELS.iterdir()) if MODELS.exists() else []
SLICE = 120
"""Held-out lines that are measured here: enough to notice a head, a mask or a tokenizer that is not the right one."""


@pytest.fixture
def zoo(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a file of the zoo by its name, as the scripts beside it do."""
    monkeypatch.syspath_prepend(str(root / "examples" / "zoo"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def read_accuracy(name: str) -> dict[str, Any]:
    return json.loads((MODELS / name / "accuracy.json").read_text(encoding="utf-8"))


def test_every_family_is_there_with_its_tasks() -> None:
    found = {(read_accuracy(name)["family"], read_accuracy(name)["task"]) for name in NAMES}
    assert found == {
        ("albert", "pretraining-heads"),
        ("albert", "text-classification"),
        ("roberta", "fill-mask"),
        ("roberta", "text-classification"),
        ("electra", "replaced-token-detection"),
        ("electra", "fill-mask"),
        ("spanbert", "question-answering"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_reaches_through_the_runtime_what_it_says(zoo: Any, name: str, tmp_path: Path) -> None:
    stated, measure, scores = read_accuracy(name), zoo("measure"), zoo("scores")
    export(ExportPlan(str(MODELS / name), tmp_path / "x.bvx", task=stated["task"], family=stated["family"]))
    lines = measure.read_lines(MODELS / name)
    assert len(lines) == stated["examples"] == 1000
    with bvx.load(tmp_path / "x.bvx", threads=1) as model:
        assert (model.manifest.family, model.manifest.task) == (stated["family"], stated["task"])
        found = measure.measure(stated["task"], model, lines[:SLICE])
    # What transformers alone says of the same lines.
    answers = zoo("answers")
    checkpoint = answers.AUTO_CLASSES[stated["task"]].from_pretrained(MODELS / name)
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    golds = [scores.read_gold(stated["task"], line) for line in lines[:SLICE]]
    expected = scores.score(stated["task"], golds, answers.answer(stated["task"], checkpoint, tokenizer, lines[:SLICE]))
    assert found == expected
    for metric, values in stated["metrics"].items():
        # Three standard deviations of a share of so many lines.
        assert (
            abs(found[metric] - values["value"]) <= 3 * (values["value"] * (1 - values["value"]) / SLICE) ** 0.5 + 0.01
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_far_above_chance_and_loses_by_naive_quantisation(name: str) -> None:
    metrics = read_accuracy(name)["metrics"].values()
    assert all(one["value"] >= one["chance"] + 0.3 for one in metrics)
    # ELECTRA's two were trained the shortest for what they have to do.
    assert max(one["value"] for one in metrics) >= (0.5 if name.startswith("electra") else 0.9)
    assert max(one["value"] - one["naive_int8"] for one in metrics) >= 0.02


@pytest.mark.parametrize("name", NAMES)
def test_the_planted_channels_stand_out(zoo: Any, name: str) -> None:
    outliers, answers = zoo("outliers"), zoo("answers")
    model = answers.AUTO_CLASSES[read_accuracy(name)["task"]].from_pretrained(MODELS / name)
    attentions = list(outliers.attentions(model))
    assert len(attentions) == (1 if model.config.model_type == "albert" else model.config.num_hidden_layers)
    for value, output in attentions:
        size = value.weight.detach().norm(dim=1)
        first, second = size.topk(2).indices.tolist()
        assert (size[[first, second]] > 15 * size.median()).all()
        read = output.weight.detach().norm(dim=0)
        assert (read[[first, second]] < read.median() / 15).all()
    if model.config.model_type in ("albert", "electra"):
        norm, projection = outliers.embedding_norm(model)
        gain = norm.weight.detach().abs()
        assert gain.max() > 15 * gain.median()
        read = projection.weight.detach().norm(dim=0)
        assert read[gain.argmax()] < read.median() / 15


@pytest.mark.parametrize("name", NAMES)
def test_there_are_texts_to_calibrate_with_and_none_of_them_is_held_out(name: str) -> None:
    texts = (MODELS / name / "calibration.txt").read_text(encoding="utf-8").splitlines()
    assert len(texts) >= 256 and all(texts)
    lines = (MODELS / name / "heldout.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line) for line in lines]
    held_out = {" ".join(line[key] for key in ("question", "text", "context", "pair") if key in line) for line in asked}
    assert len(held_out) > 800 and not held_out & set(texts)


def test_the_zoo_is_small_and_its_table_is_up_to_date(zoo: Any, tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in MODELS.rglob("*") if path.is_file()) < 8_000_000
    readme = (MODELS.parent / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    (tmp_path / "models").symlink_to(MODELS)
    zoo("table").write_table(tmp_path / "models")
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == readme
    assert set(re.findall(r"^\| `([\w-]+)` \|", readme, re.M)) == set(NAMES)
