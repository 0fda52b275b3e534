"""Sentence order and next sentence: which label belongs to which logit, as ALBERT and BERT were trained."""

import numpy as np
import pytest

import bvx
from bvx.runtime.errors import InputError

FIRST = ["the cat sat on a mat", "dogs", "a dog, a cat and a cat ran far."]
SECOND = ["a dog ran", "the cat sat and sat", "mat"]

TASKS = [
    # transformers: "0 indicates original order (sequence A, then sequence B), 1 indicates switched order".
    ("sentence-order-prediction", "AlbertForPreTraining", "sop_logits", ("in_order", "swapped")),
    # transformers: "0 indicates sequence B is a continuation of sequence A, 1 indicates sequence B is a random one".
    ("next-sentence-prediction", "BertForNextSentencePrediction", "logits", ("next", "not_next")),
]


@pytest.mark.parametrize(("task", "class_name", "output", "labels"), TASKS)
def test_labels_are_those_of_transformers_logits(on_torch, task, class_name, output, labels):
    one = on_torch(task, class_name)
    logits = one.logits(FIRST, SECOND)[output].numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(expected[:, 0] - expected[:, 1]).min() > 0.02, "swapped labels would pass"
    for found, row in zip(one.encoder(FIRST, SECOND), expected, strict=True):
        assert {item["label"]: item["score"] for item in found} == pytest.approx(
            dict(zip(labels, row, strict=True)), abs=1e-5
        )
        assert found[0]["score"] >= found[1]["score"]


@pytest.mark.parametrize(("task", "labels"), [(task, labels) for task, _, _, labels in TASKS])
def test_a_pair_is_one_answer_and_several_are_a_list(make_bundle, task, labels):
    with bvx.SentencePairClassifier.load(make_bundle(task).path, threads=1) as model:
        alone = [model(first, second) for first, second in zip(FIRST, SECOND, strict=True)]
        assert {item["label"] for item in alone[0]} == set(labels)
        for one, other in zip(model(FIRST, SECOND, batch_size=2), alone, strict=True):
            assert [item["label"] for item in one] == [item["label"] for item in other]
            assert one[0]["score"] == pytest.approx(other[0]["score"], abs=1e-5)
        assert model(FIRST[0], SECOND[0])[0]["score"] != pytest.approx(model(SECOND[0], FIRST[0])[0]["score"], abs=1e-4)
        assert model([], []) == []
        with pytest.raises(InputError, match=f"{task} takes two texts at a time"):
            model("the cat", None)
