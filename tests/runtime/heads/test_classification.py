"""text-classification: which function turns logits into scores, and how many labels come back."""

import numpy as np
import pytest

from bvx.runtime.errors import InputError
from bvx.runtime.heads import open_head
from bvx.runtime.heads.classification import ClassificationOptions
from bvx.runtime.loading import load


def scores(logits, labels="abc", problem_type=None, **options):
    head = open_head("text-classification", {"labels": list(labels), "problem_type": problem_type}, None)
    outputs = {"logits": np.array([logits], np.float32)}
    return head.decode(outputs, None, ClassificationOptions(**options))[0]


def by_label(answer):
    return {item["label"]: item["score"] for item in answer}


def test_several_labels_are_a_softmax_and_the_best_comes_back():
    assert scores([1.0, 3.0, 2.0]) == {"label": "b", "score": pytest.approx(0.66524094)}


def test_top_k_is_a_list_from_the_best_down():
    found = scores([1.0, 3.0, 2.0], top_k=2)
    assert [item["label"] for item in found] == ["b", "c"]
    everything = scores([1.0, 3.0, 2.0], top_k=None)
    assert [item["label"] for item in everything] == ["b", "c", "a"]
    assert sum(item["score"] for item in everything) == pytest.approx(1)
    assert len(scores([1.0, 3.0, 2.0], top_k=99)) == 3
    assert scores([1.0, 3.0, 2.0], top_k=1) == [scores([1.0, 3.0, 2.0])], "asked for by number it is a list"


@pytest.mark.parametrize(
    ("labels", "problem_type", "expected"),
    [
        ("ab", "multi_label_classification", {"a": 0.5, "b": 0.88079708}),
        ("ab", "single_label_classification", {"a": 0.11920292, "b": 0.88079708}),
        ("ab", "regression", {"a": 0.0, "b": 2.0}),
    ],
)
def test_the_problem_type_chooses_the_function(labels, problem_type, expected):
    assert by_label(scores([0.0, 2.0], labels, problem_type, top_k=None)) == pytest.approx(expected)


def test_a_single_label_is_a_sigmoid_unless_it_is_a_regression():
    assert scores([2.0], "a") == {"label": "a", "score": pytest.approx(0.88079708)}
    assert scores([2.0], "a", "regression") == {"label": "a", "score": 2.0}


@pytest.mark.parametrize(("function", "expected"), [("none", 2.0), ("sigmoid", 0.88079708), ("softmax", 0.88079708)])
def test_the_caller_may_choose_the_function(function, expected):
    assert scores([0.0, 2.0], "ab", function_to_apply=function)["score"] == pytest.approx(expected)


@pytest.mark.filterwarnings("error")
def test_extreme_logits_overflow_nothing():
    assert scores([-1e4, 1e4, 0.0], function_to_apply="sigmoid", top_k=None)[-1]["score"] == 0
    assert scores([-1e38, 1e38, 0.0])["score"] == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": "all"}, "top_k is 'all'"),
        ({"function_to_apply": "tanh"}, "softmax, sigmoid, none"),
        ({"function_to_apply": ["none"]}, "softmax, sigmoid, none"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, says):
    with pytest.raises(InputError, match=says):
        scores([1.0, 2.0, 3.0], **options)


def test_a_bundle_answers_with_its_labels(make_bundle):
    bundle = make_bundle("text-classification")
    with load(bundle.path, threads=1) as model:
        assert model.labels == ("bad", "so so", "good")
        (single,), several = model(["the cat"]), model(["dog", "the cat", "dog and cat"], top_k=None)
        assert single == {name: pytest.approx(value) for name, value in several[1][0].items()}
        logits = bundle.reference(model.tokenize("the cat"))["logits"][0]
        assert single["label"] == model.labels[logits.argmax()]
        assert model("the cat", "sat", top_k=2) != model("the cat", top_k=2), "a pair is read as one"


def test_texts_and_pairs_come_in_one_form(make_bundle):
    with load(make_bundle("text-classification").path, threads=1) as model:
        for texts, pairs in (("the cat", ["sat"]), (["the cat"], "sat")):
            with pytest.raises(InputError, match=r"One of texts and pairs is a single text.*Give both in one form"):
                model(texts, pairs)
        with pytest.raises(InputError, match="There are 2 texts and 1 pairs"):
            model(["the cat", "dog"], ["sat"])
