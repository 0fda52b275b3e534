"""text-classification: labels and scores, as transformers' TextClassificationPipeline gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import check_rank, read_options

__all__ = ["ClassificationHead", "ClassificationOptions", "LabelScore", "open_head"]

Floats = NDArray[np.float32]


class LabelScore(TypedDict):
    """A label and how much it applies: a probability, or the bare logit where no function is applied."""

    label: str
    score: float


@dataclass(frozen=True)
class ClassificationOptions:
    """`top_k` best labels: 1 gives one LabelScore, more a list from the best down, None all of them.

    `function_to_apply` turns logits into scores: "softmax", "sigmoid" or "none"; None is what the checkpoint says.
    """

    top_k: int | None = 1
    function_to_apply: str | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and (type(self.top_k) is not int or self.top_k < 1):
            raise InputError(f"top_k is {self.top_k!r}.", "Give a whole number from 1 on, or None for all labels.")
        if self.function_to_apply is not None and self.function_to_apply not in tuple(_FUNCTIONS):
            raise InputError(
                f"function_to_apply is {self.function_to_apply!r}.", f"Choose one of: {', '.join(_FUNCTIONS)}."
            )


@dataclass(frozen=True)
class ClassificationHead:
    """Per text a LabelScore, or a list of them where `top_k` is not 1."""

    labels: tuple[str, ...]
    function: str
    output = "logits"
    takes_pairs = True

    def read_options(self, given: Mapping[str, Any]) -> ClassificationOptions:
        return read_options(ClassificationOptions, given, "text-classification")

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "labels")
        if isinstance(spec.shape[1], int) and spec.shape[1] != len(self.labels):
            raise BundleError(
                f"The bundle has {len(self.labels)} labels; its graph gives {spec.shape[1]} logits.",
                "Export the bundle again.",
            )

    def check(self, tokens: Sequence[Tokens]) -> None:
        return

    def decode(
        self, output: NDArray[Any], batch: Batch, options: ClassificationOptions
    ) -> list[LabelScore | list[LabelScore]]:
        scores = _FUNCTIONS[options.function_to_apply or self.function](output.astype(np.float32, copy=False))
        return [self._answer(row, options.top_k) for row in scores]

    def _answer(self, scores: Floats, top_k: int | None) -> LabelScore | list[LabelScore]:
        order = np.argsort(-scores, kind="stable")[:top_k]
        found: list[LabelScore] = [{"label": self.labels[i], "score": float(scores[i])} for i in order]
        return found[0] if top_k == 1 else found


def open_head(settings: Mapping[str, Any], tokenizer: Tokenizer) -> ClassificationHead:
    """The head with `settings` {"labels": […], "problem_type": str | None}. Raises BundleError when they are wrong."""
    labels, problem = settings.get("labels"), settings.get("problem_type")
    if not isinstance(labels, (list, tuple)) or not labels or not all(isinstance(label, str) for label in labels):
        raise BundleError(f"The bundle's labels are {labels!r:.200}; wanted a list of texts.", "Export it again.")
    if problem not in (None, "regression", "multi_label_classification", "single_label_classification"):
        raise BundleError(f"The bundle's problem_type is {problem!r:.200}, which bvx does not know.", "Upgrade bvx.")
    if problem == "regression":
        function = "none"
    elif problem == "multi_label_classification" or len(labels) == 1:
        function = "sigmoid"
    else:
        function = "softmax"
    return ClassificationHead(tuple(labels), function)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def _sigmoid(logits: Floats) -> Floats:
    # With exp of negative numbers only, which cannot overflow.
    power = np.exp(-np.abs(logits))
    scores: Floats = np.where(logits >= 0, np.float32(1), power) / (1 + power)
    return scores


def _as_they_are(logits: Floats) -> Floats:
    return logits


_FUNCTIONS: Mapping[str, Callable[[Floats], Floats]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "none": _as_they_are,
}
