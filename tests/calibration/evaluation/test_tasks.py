"""Every task's models are asked and compared: a model agrees with itself, and not with another one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import bvx
from bvx.calibration.corpus import Sample
from bvx.calibration.evaluation.accuracy import compare
from bvx.calibration.evaluation.labelled import read_labelled
from bvx.calibration.evaluation.unlabelled import agree, agreement, ask, make_examples
from bvx.runtime.errors import CalibrationError

TEXTS = ("one two three", "four five", "a longer text about six or seven things", "eight", "nine ten")
SAMPLE = Sample("texts", len(TEXTS), 0, tuple((text,) for text in TEXTS))

TASKS = {
    "text-classification": [{"text": text, "label": 1} for text in TEXTS],
    "text-ranking": [{"query": "one", "document": text, "score": len(text)} for text in TEXTS],
    "sentence-similarity": [{"text": "one", "pair": text, "score": len(text)} for text in TEXTS],
    "next-sentence-prediction": [{"text": "one", "pair": text, "label": "next"} for text in TEXTS],
    "multiple-choice": [{"prompt": text, "choices": ["one", "two"], "label": 0} for text in TEXTS],
    "question-answering": [
        {"question": "What?", "context": text, "answers": [text.split()[0]] if place else []}
        for place, text in enumerate(TEXTS)
    ],
    "fill-mask": [{"text": f"{text} [MASK]", "target": "one"} for text in TEXTS],
    "token-classification": [{"text": text, "entities": [{"start": 0, "end": 3, "label": "0"}]} for text in TEXTS],
    "pretraining-heads": [{"text": f"{text} [MASK]", "pair": "b", "target": "one", "label": 0} for text in TEXTS],
}
SHAPES = {"text-ranking": {"num_labels": 1}}


@pytest.fixture(scope="module")
def pair_of_bundles(
    tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[Path]]:
    """Two bundles of one tiny architecture with other weights, by task."""
    from bvx.exporter.pipeline import export
    from bvx.exporter.plan import ExportPlan

    def make(task: str) -> list[Path]:
        home = tmp_path_factory.mktemp(task)
        found = []
        for seed in (0, 1):
            folder = home / f"checkpoint-{seed}"
            tiny_checkpoint("bert", task, folder, seed=seed, initializer_range=0.4, **SHAPES.get(task, {}))
            found.append(export(ExportPlan(str(folder), home / str(seed), task=task, family="bert")).path)
        return found

    return make


@pytest.mark.parametrize("task", TASKS)
def test_a_model_agrees_with_itself_and_not_with_another(task, pair_of_bundles, tmp_path) -> None:
    file = tmp_path / "labelled.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in TASKS[task]))
    one, other = pair_of_bundles(task)
    with bvx.load(one, threads=1) as first, bvx.load(other, threads=1) as second:
        data = read_labelled(str(file), task, first.manifest.head)
        same, different = compare(first, first, data), compare(first, second, data)
        assert same.changed == 0 and same.before == same.after and (same.low, same.high) == (0, 0)
        assert different.changed > 0 and different.examples == len(TEXTS)
        assert different.changed <= different.compared
        before = {name: old for name, (old, _) in different.metrics.items()}
        assert before == {name: old for name, (old, _) in same.metrics.items()}
        assert all(-1 <= value <= 1 for value in before.values())
        alone, apart = agreement(first, first, SAMPLE), agreement(first, second, SAMPLE)
        assert alone.changed == 0 and alone.after == 1 and alone.loss == 0
        assert apart.changed > 0 and apart.after == pytest.approx(1 - apart.changed / apart.compared)
        assert (
            apart.loss == pytest.approx(apart.changed / apart.compared) and apart.low <= apart.after - 1 <= apart.high
        )
        assert "changed on 5 texts" in apart.summary()


def test_features_agree_by_neighbours_and_cosines(tiny_bundle) -> None:
    with bvx.load(tiny_bundle("bert", "feature-extraction"), threads=1) as model:
        examples = make_examples(SAMPLE, model)
        found = ask(model, examples)
        assert found.vectors.shape == (5, model.manifest.outputs[0].shape[-1])
        same = agree("texts", found, found)
    assert same.unit == "neighbours" and same.metrics["cosine"] == (1.0, pytest.approx(1.0))


def test_agreement_on_one_text_is_refused(tiny_bundle) -> None:
    with (
        bvx.load(tiny_bundle("bert", "feature-extraction"), threads=1) as model,
        pytest.raises(CalibrationError, match="agreement takes two or more"),
    ):
        agreement(model, model, Sample("texts", 1, 0, (("one",),)))
