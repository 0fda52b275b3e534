"""The fewest operators stay in higher precision that keep an int8 model within its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from bvx.exporter import budget
from bvx.exporter.calibration_plan import CalibrationPlan
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.errors import AccuracyLost

NEEDED = ("layer.1.intermediate.dense.MatMul", "layer.0.output.dense.MatMul")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("bert", "text-classification", tmp_path_factory.mktemp("checkpoint"), num_hidden_layers=2)


@pytest.fixture
def plan(checkpoint: Path, tmp_path: Path) -> ExportPlan:
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"the {word} is here {at}" for at, word in enumerate(["cat", "dog", "sea"] * 12)))
    calibration = CalibrationPlan(texts=str(texts), max_drop=0.05)
    return ExportPlan(str(checkpoint), tmp_path / "bundle", precisions=("fp32", "int8"), calibration=calibration)


def judge_by(monkeypatch: pytest.MonkeyPatch, loss: Callable[[set[str]], float]) -> None:
    """A judge that sees nothing but which operators were kept in float."""
    opened: list[set[str]] = []
    real = budget._Candidates.open

    def remember(self, recipe):
        opened.append(set(recipe.kept))
        return real(self, recipe)

    def judge(model):
        found = loss(opened[-1])
        return SimpleNamespace(loss=found, summary=lambda: f"lost {found}")

    monkeypatch.setattr(budget._Candidates, "open", remember)
    monkeypatch.setattr(budget, "Judge", lambda reference, data: judge)
    # What the whole bundle says is another test's.
    monkeypatch.setattr("bvx.exporter.pipeline.judge", lambda plan, folder, manifest, data, progress: manifest)


def test_what_the_budget_needs_is_kept_and_nothing_else(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch):
    judge_by(monkeypatch, lambda kept: 0.0 if kept.issuperset(NEEDED) else 0.2)
    manifest = export(plan).manifest
    int8 = next(variant for variant in manifest.variants if variant.precision == "int8")
    assert set(int8.kept) == set(NEEDED)
    assert all("budget" in reason for reason in int8.kept.values())
    graph = onnx.load(plan.out / int8.file).graph
    read_by = {name: node for node in graph.node for name in node.input}
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name in NEEDED:
            assert all(made_by[name].op_type != "DequantizeLinear" for name in node.input if name in made_by)
    assert read_by
    assert manifest.tradeoff[0] == {**manifest.tradeoff[0], "kept": 0, "loss": 0.2, "int8_share": 1.0}
    assert any(row["kept"] == 2 and row["loss"] == 0.0 for row in manifest.tradeoff)


def test_a_budget_that_int8_meets_costs_one_look(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch):
    judge_by(monkeypatch, lambda kept: 0.05)
    monkeypatch.setattr(budget, "rank_operators", lambda *given: pytest.fail("nothing had to be ranked"))
    manifest = export(plan).manifest
    assert not any(variant.kept for variant in manifest.variants) and manifest.tradeoff == ()


def test_a_budget_that_nothing_meets_says_what_the_best_was_and_writes_nothing(
    plan: ExportPlan, monkeypatch: pytest.MonkeyPatch
):
    judge_by(monkeypatch, lambda kept: 0.3 - 0.01 * len(kept))
    with pytest.raises(AccuracyLost, match=r"at the least, with \d+ linear layers.*allows 5\.00%.*best") as lost:
        export(plan)
    assert lost.value.exit_code == 3 and not plan.out.exists()


def test_without_a_budget_nothing_is_searched(plan: ExportPlan, monkeypatch: pytest.MonkeyPatch):
    judge_by(monkeypatch, lambda kept: pytest.fail("there is no budget"))
    calibration = replace(plan.calibration, max_drop=None)
    assert export(replace(plan, calibration=calibration)).manifest.tradeoff == ()
