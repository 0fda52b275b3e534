"""Accuracy: a metric before and after, how sure the difference is, and how many answers changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .agreement import Changes, count_changes
from .kinds import Kind
from .labelled import Labelled
from .predictions import Predictions
from .scores import Score, answer_exact, answer_f1, interval, mean_of, pearson_of, ratio_of, spearman_of

__all__ = ["Accuracy", "judge", "summarise"]

_SEED = 0


@dataclass(frozen=True)
class Accuracy:
    """How a model compares with the one that it was made of, on `examples` examples of `source`.

    `before` and `after` are the `metric` of either, and `low` to `high` the 95% interval of `after - before`: a paired
    bootstrap of 1,000 resamples with a fixed seed. `changed` of `compared` answers are others than before; `unit` says
    what is counted: "predictions"; "tokens"; "orders", which of two examples has the larger score, over all pairs of
    examples; or "neighbours", which text is nearest to a text. `metrics` holds every metric, before and after.

    Without labelled data the metric is "agreement", the share of answers that did not change, and `before` is 1.
    """

    source: str
    metric: str
    before: float
    after: float
    low: float
    high: float
    examples: int
    changed: int
    compared: int
    unit: str
    metrics: Mapping[str, tuple[float, float]]

    @property
    def loss(self) -> float:
        """The share of the metric that was lost: what `--max-drop` bounds. Negative where it rose."""
        return (self.before - self.after) / abs(self.before) if self.before else 0.0

    @property
    def is_significant(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON has them, numbers to six decimal places, and `loss`."""
        fields = {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(self).items()}
        metrics = {name: [round(one, 6) for one in both] for name, both in self.metrics.items()}
        return {**fields, "metrics": metrics, "loss": round(self.loss, 6)}

    def summary(self) -> str:
        """Such as "accuracy 0.9120 -> 0.9110 (-0.0010, 95%: -0.0040 to +0.0020); 3 of 1,000 predictions changed"."""
        if self.metric == "agreement":
            return f"{self.changed:,} of {self.compared:,} {self.unit} changed on {self.examples:,} texts"
        return (
            f"{self.metric} {self.before:.4f} -> {self.after:.4f} ({self.after - self.before:+.4f}, 95%: "
            f"{self.low:+.4f} to {self.high:+.4f}); {self.changed:,} of {self.compared:,} {self.unit} changed"
        )


def judge(data: Labelled, kind: Kind, before: Predictions, after: Predictions) -> Accuracy:
    """The accuracy of `after`, beside that of `before`: the answers of two models to all examples of `data`."""
    golds = [example.gold for example in data.examples]
    old, new = (_SCORES[kind.name](golds, predictions) for predictions in (before, after))
    metric = next(iter(old))
    return summarise(data.source, metric, old, new, len(golds), count_changes(before, after))


def summarise(
    source: str, metric: str, old: Mapping[str, Score], new: Mapping[str, Score], count: int, changes: Changes
) -> Accuracy:
    """Score both on all of `count` examples, and `metric` on resamples too."""
    everything = np.arange(count, dtype=np.int64)
    metrics = {name: (old[name](everything), new[name](everything)) for name in old}
    low, high = interval(old[metric], new[metric], count, seed=_SEED)
    return Accuracy(
        source=source,
        metric=metric,
        before=metrics[metric][0],
        after=metrics[metric][1],
        low=low,
        high=high,
        examples=count,
        changed=changes.changed,
        compared=changes.compared,
        unit=changes.unit,
        metrics=metrics,
    )


Golds = list[Any]


def _right(golds: Golds, found: Predictions) -> dict[str, Score]:
    return {"accuracy": mean_of([gold == answer for gold, answer in zip(golds, found.answers, strict=True)])}


def _sets(golds: Golds, found: Predictions) -> dict[str, Score]:
    """Micro F1 over the members of sets, each of which is right only as a whole."""
    pairs = list(zip(golds, found.answers, strict=True))
    return {"f1": ratio_of([2 * len(a & b) for a, b in pairs], [len(a) + len(b) for a, b in pairs])}


def _several(golds: Golds, found: Predictions) -> dict[str, Score]:
    return {**_sets(golds, found), **_right(golds, found)}


def _ranking(golds: Golds, found: Predictions) -> dict[str, Score]:
    assert found.values is not None
    return {"spearman": spearman_of(found.values, golds), "pearson": pearson_of(found.values, golds)}


def _squad(golds: Golds, found: Predictions) -> dict[str, Score]:
    pairs = list(zip(found.answers, golds, strict=True))
    return {"f1": mean_of([answer_f1(*one) for one in pairs]), "exact": mean_of([answer_exact(*one) for one in pairs])}


def _masks(golds: Golds, found: Predictions) -> dict[str, Score]:
    pairs = list(zip(golds, found.answers, strict=True))
    return {"accuracy": ratio_of([_same(*one) for one in pairs], [len(gold) for gold in golds])}


def _masks_and_pair(golds: Golds, found: Predictions) -> dict[str, Score]:
    pairs = list(zip(golds, found.answers, strict=True))
    words = [_same(gold[0], answer[0]) for gold, answer in pairs]
    labels = [int(gold[1] == answer[1]) for gold, answer in pairs]
    masks = [len(gold[0]) for gold in golds]
    decisions = [a + 1 for a in masks]
    return {
        "accuracy": ratio_of([a + b for a, b in zip(words, labels, strict=True)], decisions),
        "fill_accuracy": ratio_of(words, masks),
        "pair_accuracy": mean_of(labels),
    }


def _same(wanted: tuple[str, ...], found: tuple[str, ...]) -> int:
    return sum(a == b for a, b in zip(wanted, found, strict=False))


_SCORES: Mapping[str, Callable[[Golds, Predictions], dict[str, Score]]] = {
    "label": _right,
    "labels": _several,
    "score": _ranking,
    "choice": _right,
    "answer": _squad,
    "words": _masks,
    "replaced": _sets,
    "entities": _sets,
    "both": _masks_and_pair,
}
"""The metrics of each kind of answers; the first is the one that is judged by."""
