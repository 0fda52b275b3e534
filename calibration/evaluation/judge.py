"""Judge: asks the model that others are made of once, and then every other the same."""

from __future__ import annotations

from collections.abc import Callable

from ...runtime.encoder import Encoder
from ..corpus import Sample
from .accuracy import Accuracy, judge
from .kinds import Kind, find_kind
from .labelled import Labelled
from .predictions import Predictions, predict, predict_vectors
from .unlabelled import EMBEDDING, agree, make_examples

__all__ = ["Judge"]


class Judge:
    """Compares models with `reference` on labelled data, or where there is none on texts: how often they agree.

    `progress` is told how many more examples were answered: all of them for the reference, and for each model again.
    Raises CalibrationError for fewer than two texts, and for a task that labelled data cannot judge.
    """

    def __init__(
        self,
        reference: Encoder,
        data: Labelled | Sample,
        progress: Callable[[int], None] = lambda examples: None,
    ) -> None:
        self._data, self._progress = data, progress
        self._kind: Kind | None
        if isinstance(data, Labelled):
            self._examples = data.examples
            self._kind = find_kind(data.task, reference.manifest.head)
        else:
            self._examples = make_examples(data, reference)
            # Embeddings are no answers, so that they are of no kind: neighbours are compared.
            self._kind = None if reference.task in EMBEDDING else find_kind(reference.task, reference.manifest.head)
        self._before = self._ask(reference)

    def __call__(self, model: Encoder) -> Accuracy:
        """How `model` compares with the reference."""
        after = self._ask(model)
        if isinstance(self._data, Labelled):
            assert self._kind is not None
            return judge(self._data, self._kind, self._before, after)
        return agree(self._data.source, self._before, after)

    def _ask(self, model: Encoder) -> Predictions:
        if self._kind is None:
            return predict_vectors(model, self._examples, self._progress)
        return predict(model, self._examples, self._kind, self._progress)
