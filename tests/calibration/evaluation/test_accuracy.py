"""What changed between a model and one made of it, counted by hand and by bvx."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from bvx.calibration.evaluation.accuracy import judge
from bvx.calibration.evaluation.agreement import count_changes
from bvx.calibration.evaluation.examples import Example
from bvx.calibration.evaluation.judge import Judge
from bvx.calibration.evaluation.kinds import KINDS
from bvx.calibration.evaluation.labelled import Labelled
from bvx.calibration.evaluation.predictions import Predictions


def data(task: str, *golds) -> Labelled:
    return Labelled("file", task, tuple(Example(f"text {number}", gold=gold) for number, gold in enumerate(golds)), "")


def labels(*answers) -> Predictions:
    return Predictions(answers, tuple((answer,) for answer in answers))


def test_accuracy_before_and_after_and_how_many_flipped() -> None:
    found = judge(
        data("text-classification", *"aabbb"), KINDS["label"], labels(*"aabba"), labels(*"abbbb")
    )  # right: 4, then 4; two flipped
    assert (found.metric, found.before, found.after) == ("accuracy", 0.8, 0.8)
    assert (found.changed, found.compared, found.unit) == (2, 5, "predictions")
    assert found.low < 0 < found.high and not found.is_significant and found.loss == 0
    assert "2 of 5 predictions changed" in found.summary() and "accuracy 0.8000 -> 0.8000" in found.summary()


def test_a_loss_is_a_share_of_what_was_there() -> None:
    golds, old, new = "a" * 100, labels(*"a" * 80, *"b" * 20), labels(*"a" * 60, *"b" * 40)
    found = judge(data("text-classification", *golds), KINDS["label"], old, new)
    assert found.loss == pytest.approx(0.25) and found.is_significant and found.high < 0


def test_an_accuracy_is_json() -> None:
    found = judge(data("text-classification", *"aab"), KINDS["label"], labels(*"aaa"), labels(*"aab"))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["metrics"] == {"accuracy": [0.666667, 1.0]} and plain["loss"] == -0.5
    assert plain["changed"] == 1 and plain["source"] == "file"


def test_rankings_are_judged_by_spearman_and_by_the_orders_that_changed() -> None:
    golds = [1.0, 2.0, 3.0, 4.0]
    old, new = np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 3, 3])
    found = judge(data("text-ranking", *golds), KINDS["score"], Predictions(values=old), Predictions(values=new))
    assert found.metric == "spearman" and found.before == pytest.approx(1.0)
    assert set(found.metrics) == {"spearman", "pearson"}
    # 1 before 2 became 2 before 1, and of 3 and 4 neither is first any more.
    assert (found.changed, found.compared, found.unit) == (2, 6, "orders")


def test_of_many_values_a_sample_is_ranked() -> None:
    values = np.random.default_rng(0).standard_normal(5000)
    changes = count_changes(Predictions(values=values), Predictions(values=-values))
    assert changes.changed == changes.compared == 2000 * 1999 // 2


def test_embeddings_change_where_the_nearest_neighbour_does() -> None:
    old = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    new = np.array([[1.0, 0], [1, 0.1], [1, 0.3], [0.1, 1]])
    changes = count_changes(Predictions(vectors=old), Predictions(vectors=new))
    # 2 was nearest to 3 and is nearest to 1 now; 3 is still nearest to 2.
    assert (changes.changed, changes.compared, changes.unit) == (1, 4, "neighbours")
    assert count_changes(Predictions(vectors=old), Predictions(vectors=old * 3)).changed == 0


def test_every_token_is_a_decision() -> None:
    old = Predictions((frozenset({(0, 3)}), frozenset()), ((True, False), (False,)), unit="tokens")
    new = Predictions((frozenset({(0, 3), (4, 7)}), frozenset()), ((True, True), (False,)), unit="tokens")
    golds = (frozenset({(0, 3)}), frozenset({(0, 1)}))
    found = judge(data("replaced-token-detection", *golds), KINDS["replaced"], old, new)
    assert (found.changed, found.compared, found.unit) == (1, 3, "tokens")
    assert found.metrics["f1"] == pytest.approx((2 / 3, 2 / 4))


def test_masks_and_pairs_are_judged_together_and_apart() -> None:
    golds = [(("a",), "next"), (("b",), "next")]
    old = Predictions(tuple(golds), (("a", "next"), ("b", "next")))
    new = Predictions(((("a",), "not_next"), (("c",), "next")), (("a", "not_next"), ("c", "next")))
    found = judge(data("pretraining-heads", *golds), KINDS["both"], old, new)
    assert found.metrics == {"accuracy": (1.0, 0.5), "fill_accuracy": (1.0, 0.5), "pair_accuracy": (1.0, 0.5)}
    assert (found.changed, found.compared) == (2, 4)


class Classifier:
    """Says "yes" of texts with more than `limit` letters; refuses a mixture of texts with and without a pair."""

    task, labels = "text-classification", ("no", "yes")
    manifest = SimpleNamespace(head={"labels": ["no", "yes"]})

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, texts, pairs=None, *, truncate):
        assert truncate
        whole = texts if pairs is None else [text + pair for text, pair in zip(texts, pairs, strict=True)]
        return [{"label": self.labels[len(text) > self.limit], "score": 0.9} for text in whole]


def test_two_models_are_asked_every_example_in_order_with_progress() -> None:
    examples = [Example("x" * (number % 50), "y" if number % 3 else None, "yes") for number in range(600)]
    told: list[int] = []
    judged = Judge(Classifier(20), Labelled("file", "text-classification", tuple(examples), ""), told.append)
    found = judged(Classifier(22))
    sizes = [len(one.text) + len(one.second or "") for one in examples]
    assert found.before == pytest.approx(np.mean([size > 20 for size in sizes]))
    assert found.after == pytest.approx(np.mean([size > 22 for size in sizes]))
    assert found.changed == sum(20 < size <= 22 for size in sizes) and sum(told) == 1200
