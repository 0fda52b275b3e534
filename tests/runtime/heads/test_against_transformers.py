"""Answers equal to transformers' pipelines; both run the same PyTorch model, so that only the heads are compared."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

TEXTS = ["the cat sat on a mat", "dogs", "a dog, a cat and a cat ran far.", "\u00e9 \u6211 zebra"]


@pytest.fixture
def both(on_torch):
    """Makes our Encoder and transformers' pipeline for a task, on one random model."""

    def make(task, model_class, head=None, **config):
        one = on_torch(task, model_class, head, **config)
        return one.encoder, transformers.pipeline(task, model=one.model, tokenizer=one.tokenizer)

    return make


def close(found, expected):
    if isinstance(expected, dict):
        return set(found) == set(expected) and all(close(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (expected if isinstance(expected, (str, int)) else pytest.approx(expected, abs=1e-4))


def test_features_are_those_of_the_pipeline(both):
    encoder, pipeline = both("feature-extraction", "BertModel")
    for found, expected in zip(encoder(TEXTS), pipeline(TEXTS), strict=True):
        np.testing.assert_allclose(found, np.array(expected)[0], atol=1e-4)


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [
        (1, None),
        (3, None),
        (1, "multi_label_classification"),
        (3, "multi_label_classification"),
        (3, "single_label_classification"),
    ],
)
def test_labels_are_those_of_the_pipeline(both, labels, problem_type):
    names = [f"class {i}" for i in range(labels)]
    config = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    encoder, pipeline = both(
        "text-classification",
        "BertForSequenceClassification",
        {"labels": names, "problem_type": problem_type},
        problem_type=problem_type,
        **config,
    )
    assert close(encoder(TEXTS), pipeline(TEXTS))
    assert close(encoder(TEXTS, top_k=None), pipeline(TEXTS, top_k=None))
    assert close(encoder(TEXTS, top_k=2), pipeline(TEXTS, top_k=2))
    assert close(encoder(TEXTS, function_to_apply="none"), pipeline(TEXTS, function_to_apply="none"))
    pairs = [{"text": text, "text_pair": "the dog"} for text in TEXTS]
    assert close(encoder(TEXTS, pairs=["the dog"] * len(TEXTS)), pipeline(pairs))


def test_a_regression_is_that_of_the_pipeline(both):
    head = {"labels": ["LABEL_0"], "problem_type": "regression"}
    encoder, pipeline = both(
        "text-classification", "BertForSequenceClassification", head, num_labels=1, problem_type="regression"
    )
    assert close(encoder(TEXTS), pipeline(TEXTS))


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_labels_of_tokens_are_those_of_the_pipeline(both, strategy):
    names = ["B-CAT", "I-CAT", "O"]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    head = {"labels": names, "unk_token": "[UNK]"}
    encoder, pipeline = both("token-classification", "BertForTokenClassification", head, **labels)
    options = {"aggregation_strategy": strategy, "ignore_labels": []}
    found = encoder(TEXTS, **options)
    assert all(found) and close(found, pipeline(TEXTS, **options))


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"targets": ["cat", "dog", "mat"]}, {"targets": "dogs"}])
def test_fillings_are_those_of_the_pipeline(both, options):
    encoder, pipeline = both("fill-mask", "BertForMaskedLM")
    texts = ["the [MASK] sat.", "[MASK], a cat and [MASK] ran", "dogs [MASK]", "[MASK] [MASK] [MASK]"]
    assert close(encoder(texts, **options), pipeline(texts, **options))
