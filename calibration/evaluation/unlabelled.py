"""Without labelled data: how often a model still answers what the model that it was made of answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...runtime.encoder import Encoder
from ...runtime.errors import CalibrationError
from ..corpus import Sample
from .accuracy import Accuracy, summarise
from .agreement import count_changes
from .examples import Example
from .predictions import Predictions
from .scores import Score, mean_of, ratio_of

__all__ = ["EMBEDDING", "agree", "make_examples"]

EMBEDDING = ("sentence-similarity", "feature-extraction")
"""Tasks whose models give vectors, not answers."""

_TWO_TEXTS = (
    "question-answering",
    "text-ranking",
    "sentence-order-prediction",
    "next-sentence-prediction",
    "pretraining-heads",
)
_MASKED = ("fill-mask", "pretraining-heads")


def agree(source: str, before: Predictions, after: Predictions) -> Accuracy:
    """How far two models' answers to the same examples agree.

    The metric is "agreement", the share of answers that did not change: labels, spans, fillings, the sign of every
    token, the order of scores; for embeddings each text's nearest neighbour, and then `metrics` has the mean cosine
    between what both say of a text as well.
    """
    changes = count_changes(before, after)
    same: dict[str, Score] = {"agreement": ratio_of(changes.comparisons - changes.changes, changes.comparisons)}
    ones: dict[str, Score] = {"agreement": lambda places: 1.0}
    if before.vectors is not None and after.vectors is not None:
        same["cosine"], ones["cosine"] = mean_of(_cosines(before.vectors, after.vectors)), lambda places: 1.0
    return summarise(source, "agreement", ones, same, len(changes.changes), changes)


def make_examples(sample: Sample, encoder: Encoder) -> tuple[Example, ...]:
    """What the model is asked, made of the texts of `sample`.

    Where a task takes two texts and a text has no pair, the next one is it; where it fills a mask, the middle word of
    the text is masked; where it chooses, it chooses between the next two. Raises CalibrationError for fewer than two.
    """
    entries = sample.entries
    if len(entries) < 2:
        raise CalibrationError(f"{sample.source} has one text; agreement takes two or more.", "Give a few hundred.")
    firsts = [entry[0] for entry in entries]
    found = []
    for place, entry in enumerate(entries):
        following = [firsts[(place + step) % len(firsts)] for step in (1, 2)]
        second: str | tuple[str, ...] | None = entry[1] if len(entry) == 2 else None
        if encoder.task == "multiple-choice":
            second = tuple(following)
        elif encoder.task in _TWO_TEXTS:
            second = second or following[0]
        elif encoder.task not in ("text-classification", "fill-mask"):
            second = None
        text = _mask(entry[0], encoder) if encoder.task in _MASKED else entry[0]
        found.append(Example(text, second))
    return tuple(found)


def _mask(text: str, encoder: Encoder) -> str:
    mask = str(encoder.manifest.head["mask_token"])
    words = text.split()
    # A text that is too long loses its end, so the mask stands near the beginning, however many tokens words have.
    words[min(len(words) // 2, encoder.max_length // 16)] = mask
    return " ".join(words)


def _cosines(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    sizes = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosines: NDArray[np.float64] = (before * after).sum(axis=1) / np.maximum(sizes, 1e-12)
    return cosines
