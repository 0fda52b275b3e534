"""What a model answers to examples, in a form in which two models' answers can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.encoder import Encoder
from .examples import Example
from .kinds import Kind

__all__ = ["Predictions", "predict", "predict_vectors"]

_CHUNK = 256
"""Examples that a model is asked at once, between two steps of a progress bar."""

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers to examples, in their order.

    `answers` are what is right or wrong, in the form of `Example.gold`; `decisions` are, for each example, what may be
    the same or another for another model: a label, or one for each token. `values` are numbers [examples] that rank
    the examples; `vectors` are embeddings [examples, width]. `unit` is what one decision is called.
    """

    answers: tuple[Any, ...] = ()
    decisions: tuple[tuple[Any, ...], ...] = ()
    values: NDArray[np.float64] | None = None
    vectors: NDArray[np.float64] | None = None
    unit: str = "predictions"


def predict(
    encoder: Encoder, examples: Sequence[Example], kind: Kind, progress: Progress = lambda examples: None
) -> Predictions:
    """The answers of `encoder`; `progress` is told how many more examples it has answered. Texts too long are cut."""
    found: Predictions = _PREDICT[kind.name](encoder, examples, progress)
    return found


def predict_vectors(
    encoder: Encoder, examples: Sequence[Example], progress: Progress = lambda examples: None
) -> Predictions:
    """One embedding for each text alone: the model's own, or the mean of its tokens."""
    texts = [Example(example.text) for example in examples]
    found = [np.asarray(one, np.float64) for one in _ask(encoder, texts, progress, truncate=True)]
    return Predictions(vectors=np.stack([one if one.ndim == 1 else one.mean(axis=0) for one in found]))


def _ask(encoder: Encoder, examples: Sequence[Example], progress: Progress, **options: Any) -> Iterator[Any]:
    """The answers to `examples`, in order."""
    for start in range(0, len(examples), _CHUNK):
        some = examples[start : start + _CHUNK]
        answers: dict[int, Any] = {}
        # A call takes texts that all have a second one, or none of which has.
        for alone in (True, False):
            places = [place for place, one in enumerate(some) if (one.second is None) == alone]
            seconds = [] if alone else [[some[place].second for place in places]]
            if places:
                given = encoder([some[place].text for place in places], *seconds, **options)
                answers.update(zip(places, given, strict=True))
        yield from (answers[place] for place in range(len(some)))
        progress(len(some))


def _single(answers: Sequence[Any]) -> Predictions:
    return Predictions(tuple(answers), tuple((answer,) for answer in answers))


def _labels_of_one(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    best = _ask(encoder, examples, progress, truncate=True)
    # A pair's classifier gives all labels, the likeliest first.
    return _single([one["label"] if isinstance(one, dict) else one[0]["label"] for one in best])


def _labels_of_many(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    given = _ask(encoder, examples, progress, truncate=True, top_k=None)
    chosen = [frozenset(one["label"] for one in scores if one["score"] >= 0.5) for scores in given]
    signs = [tuple(label in some for label in encoder.labels) for some in chosen]
    return Predictions(tuple(chosen), tuple(signs))


def _values(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    if encoder.task == "sentence-similarity":
        seconds = [Example(str(one.second)) for one in examples]
        first, second = predict_vectors(encoder, examples, progress).vectors, predict_vectors(encoder, seconds).vectors
        assert first is not None and second is not None
        sizes = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        return Predictions(values=(first * second).sum(axis=1) / np.maximum(sizes, 1e-12))
    options = {} if encoder.task == "text-ranking" else {"function_to_apply": "none", "top_k": 1}
    given = list(_ask(encoder, examples, progress, truncate=True, **options))
    values = [one if isinstance(one, float) else one[0]["score"] for one in given]
    return Predictions(values=np.array(values, np.float64))


def _choices(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    return _single([one[0]["index"] for one in _ask(encoder, examples, progress, truncate=True)])


def _answers(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    # As SQuAD 2.0 is judged: the empty answer competes only where an example has it for the right one.
    none = any(example.gold is not None and not example.gold for example in examples)
    found = list(_ask(encoder, examples, progress, no_answer_threshold=0.0 if none else None))
    return _single([one["answer"] for one in found])


def _words(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    found = [_fillings(one) for one in _ask(encoder, examples, progress, truncate=True, top_k=1)]
    return Predictions(tuple(found), tuple(found))


def _fillings(given: Any) -> tuple[str, ...]:
    """The best word for each mask, of which there is one, or several in a list of their own each."""
    several = given if given and isinstance(given[0], list) else [given]
    return tuple(str(one[0]["token_str"]).strip() for one in several if one)


def _replaced(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    tokens = list(_ask(encoder, examples, progress, truncate=True))
    spans = [frozenset((one["start"], one["end"]) for one in text if one["score"] >= 0.5) for text in tokens]
    return Predictions(
        tuple(spans), tuple(tuple(one["score"] >= 0.5 for one in text) for text in tokens), unit="tokens"
    )


def _entities(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    tokens = _ask(encoder, examples, progress, truncate=True, ignore_labels=())
    decisions = tuple(tuple(one["entity"] for one in text) for text in tokens)
    groups = _ask(encoder, examples, _silent, truncate=True, aggregation_strategy="simple")
    spans = (frozenset((one["start"], one["end"], one["entity_group"]) for one in text) for text in groups)
    return Predictions(tuple(spans), decisions, unit="tokens")


def _both(encoder: Encoder, examples: Sequence[Example], progress: Progress) -> Predictions:
    found = list(_ask(encoder, examples, progress, truncate=True, top_k=1))
    words = [_fillings(one["fillings"]) for one in found]
    labels = [one["pair"][0]["label"] for one in found]
    both = tuple(zip(words, labels, strict=True))
    return Predictions(both, tuple((*some, label) for some, label in both))


def _silent(examples: int) -> None:
    pass


_PREDICT: Mapping[str, Callable[[Encoder, Sequence[Example], Progress], Predictions]] = {
    "label": _labels_of_one,
    "labels": _labels_of_many,
    "score": _values,
    "choice": _choices,
    "answer": _answers,
    "words": _words,
    "replaced": _replaced,
    "entities": _entities,
    "both": _both,
}
"""How a model is asked, by the kind of its answers."""
