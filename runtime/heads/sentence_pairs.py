"""sentence-order-prediction and next-sentence-prediction: do two texts stand in this order, or together at all.

The labels are those of the pre-training: ALBERT's order (arXiv 1909.11942, section 3.1) and BERT's next sentence
(arXiv 1810.04805, section 3.1); transformers' logits have them in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, overload

from ..answers import LabelScore
from ..encoder import Encoder, Texts
from ..tokenizer import Tokenizer
from .classification import ClassificationHead, ClassificationOptions

__all__ = ["LABELS", "OUTPUTS", "PREDICTOR", "PairHead", "SentencePairClassifier", "open_head"]

LABELS: Mapping[str, tuple[str, str]] = {
    "sentence-order-prediction": ("in_order", "swapped"),
    "next-sentence-prediction": ("next", "not_next"),
}
"""What the first and the second logit say of a pair."""

OUTPUTS: Mapping[str, str] = {
    "sentence-order-prediction": "sop_logits",
    "next-sentence-prediction": "logits",
}
"""The graph's output that says it, [batch, 2]."""


class SentencePairClassifier(Encoder):
    """sentence-order-prediction ("in_order", "swapped") or next-sentence-prediction ("next", "not_next")."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str, pairs: str, *, truncate: bool = False, batch_size: int = 32
    ) -> list[LabelScore]: ...
    @overload
    def __call__(
        self, texts: Iterable[str], pairs: Iterable[str], *, truncate: bool = False, batch_size: int = 32
    ) -> list[list[LabelScore]]: ...
    def __call__(self, texts: Texts, pairs: Texts, *, truncate: bool = False, batch_size: int = 32) -> Any:
        """Per pair both labels with their probabilities, the likelier first.

        A pair longer than `max_length` tokens is cut with `truncate`, the longer text first, and refused without. At
        most `batch_size` pairs run at once. Raises InputError for texts that cannot be used.
        """
        options = ClassificationOptions(top_k=None)
        return self._answer(texts, pairs, options, truncate=truncate, batch_size=batch_size)


class PairHead(ClassificationHead):
    seconds = "needed"


PREDICTOR = SentencePairClassifier


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> PairHead:
    """The head of either task; neither has settings."""
    return PairHead(LABELS[task], "softmax", OUTPUTS[task])
