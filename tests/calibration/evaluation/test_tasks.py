"""Every task's models are asked and compared: a model agrees with itself, and not with another one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import bvx
from bvx.calibration.corpus import Sample
from bvx.calibration.evaluation.judge import Judge
from bvx.calibration.evaluation.labelled import read_labelled
from bvx.calibration.evaluation.unlabelled import make_examples
from bvx.runtime.errors import CalibrationError

TEXTS = ("the cat sat", "dogs ran", "a dog and a cat sat on the far mat", "far", "mats, and dogs.")
SAMPLE = Sample("texts", len(TEXTS), 0, tuple((text,) for text in TEXTS))

TASKS = {
    "text-classification": [{"text": text, "label": 1} for text in TEXTS],
    "text-ranking": [{"query": "a cat", "document": text, "score": len(text)} for text in TEXTS],
    "sentence-similarity": [{"text": "a cat", "pair": text, "score": len(text)} for text in TEXTS],
    "next-sentence-prediction": [{"text": "a cat", "pair": text, "label": "next"} for text in TEXTS],
    "multiple-choice": [{"prompt": text, "choices": ["a cat", "far"], "label": 0} for text in TEXTS],
    "question-answering": [
        {"question": "What?", "context": text, "answers": [text.split()[0]] if place else []}
        for place, text in enumerate(TEXTS)
    ],
    "fill-mask": [{"text": f"{text} [MASK]", "target": "cat"} for text in TEXTS],
    "replaced-token-detection": [{"text": text, "replaced": [[0, 3]]} for text in TEXTS],
    "sentence-order-prediction": [{"text": "a cat", "pair": text, "label": "in_order"} for text in TEXTS],
    "token-classification": [{"text": text, "entities": [{"start": 0, "end": 3, "label": "bad"}]} for text in TEXTS],
    "pretraining-heads": [{"text": f"{text} [MASK]", "pair": "a mat", "target": "cat", "label": 0} for text in TEXTS],
}


@pytest.fixture
def pair_of_bundles(make_bundle):
    """Two bundles of one task with other weights."""

    def make(task: str):
        one, other = make_bundle(task), make_bundle(task)
        # Every choice between two logits turns round, and every word is somewhat another.
        noise = np.random.default_rng(9).normal(size=one.weights.words.shape).astype(np.float32)
        words = one.weights.words + 0.5 * noise
        other.replace_model(replace(other.weights, labels=-one.weights.labels, words=words))
        return one.path, other.path

    return make


@pytest.mark.parametrize("task", TASKS)
def test_a_model_agrees_with_itself_and_not_with_another(task, pair_of_bundles, tmp_path) -> None:
    file = tmp_path / "labelled.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in TASKS[task]))
    one, other = pair_of_bundles(task)
    with bvx.load(one, threads=1) as first, bvx.load(other, threads=1) as second:
        data = read_labelled(str(file), task, first.manifest.head)
        judge = Judge(first, data)
        same, different = judge(first), judge(second)
        assert same.changed == 0 and same.before == same.after and (same.low, same.high) == (0, 0)
        assert different.changed > 0 and different.examples == len(TEXTS)
        assert different.changed <= different.compared
        before = {name: old for name, (old, _) in different.metrics.items()}
        assert before == {name: old for name, (old, _) in same.metrics.items()}
        assert all(-1 <= value <= 1 for value in before.values())
        judge = Judge(first, SAMPLE)
        alone, apart = judge(first), judge(second)
        assert alone.changed == 0 and alone.after == 1 and alone.loss == 0
        assert apart.changed > 0 and apart.after == pytest.approx(1 - apart.changed / apart.compared)
        assert (
            apart.loss == pytest.approx(apart.changed / apart.compared) and apart.low <= apart.after - 1 <= apart.high
        )
        assert "changed on 5 texts" in apart.summary()


def test_features_agree_by_neighbours_and_cosines(make_bundle) -> None:
    with bvx.load(make_bundle().path, threads=1) as model:
        same = Judge(model, SAMPLE)(model)
    assert same.compared == 5
    assert same.unit == "neighbours" and same.metrics["cosine"] == (1.0, pytest.approx(1.0))


def test_several_labels_of_one_text_are_judged_one_by_one(make_bundle, tmp_path) -> None:
    head = {"labels": ["bad", "so so", "good"], "problem_type": "multi_label_classification"}
    file = tmp_path / "labelled.jsonl"
    file.write_text("".join(json.dumps({"text": text, "labels": ["bad", "good"]}) + "\n" for text in TEXTS))
    with bvx.load(make_bundle("text-classification", head=head).path, threads=1) as model:
        found = Judge(model, read_labelled(str(file), "text-classification", head))(model)
    assert found.metric == "f1" and found.compared == 15 and found.changed == 0


def test_what_a_model_reads_is_made_of_texts(make_bundle) -> None:
    with bvx.load(make_bundle("fill-mask").path, threads=1) as model:
        assert [one.text for one in make_examples(SAMPLE, model)] == [
            "the [MASK] sat",
            "dogs [MASK]",
            "a [MASK] and a cat sat on the far mat",
            "[MASK]",
            "mats, [MASK] dogs.",
        ]
    with bvx.load(make_bundle("question-answering").path, threads=1) as model:
        pairs = Sample("texts", 2, 0, (("the cat sat", "a mat"), ("far",)))
        assert [one[:2] for one in make_examples(pairs, model)] == [("the cat sat", "a mat"), ("far", "the cat sat")]


def test_agreement_on_one_text_is_refused(make_bundle) -> None:
    with (
        bvx.load(make_bundle().path, threads=1) as model,
        pytest.raises(CalibrationError, match="agreement takes two or more"),
    ):
        Judge(model, Sample("texts", 1, 0, (("the cat",),)))
