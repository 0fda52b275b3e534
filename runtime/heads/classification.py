"""text-classification: labels and scores, as transformers' TextClassificationPipeline gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import LabelScore
from ..encoder import Encoder, Texts
from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer
from . import TextHead, check_rank
from .scores import FUNCTIONS, Floats, Function

__all__ = [
    "BEST",
    "PREDICTOR",
    "ClassificationHead",
    "ClassificationOptions",
    "TextClassifier",
    "check_labels",
    "check_top_k",
    "open_head",
]

BEST: Final = "best"
"""What `top_k` is when it is not given: the best alone, and not in a list."""


class TextClassifier(Encoder):
    """text-classification: which labels a text, or a pair of texts, has."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        pairs: str | None = None,
        *,
        function_to_apply: Function | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> LabelScore: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        pairs: str | None = None,
        *,
        top_k: int | None,
        function_to_apply: Function | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[LabelScore]: ...
    @overload
    def __call__(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        function_to_apply: Function | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[LabelScore]: ...
    @overload
    def __call__(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        top_k: int | None,
        function_to_apply: Function | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[list[LabelScore]]: ...
    def __call__(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        top_k: int | Literal["best"] | None = BEST,
        function_to_apply: Function | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> Any:
        """Per text (with its pair) its best label; with `top_k` the list of that many, the best first, None for all.

        `function_to_apply` makes scores of logits: "softmax", "sigmoid" or "none"; None is what the checkpoint says.
        A text longer than `max_length` tokens is cut with `truncate` and refused without. At most `batch_size` texts
        run at once. Raises InputError for texts or options that cannot be used.
        """
        options = ClassificationOptions(top_k, function_to_apply)
        return self._answer(texts, pairs, options, truncate=truncate, batch_size=batch_size)


@dataclass(frozen=True)
class ClassificationOptions:
    """`top_k` labels, None for all of them, BEST for the best alone; `function_to_apply` None is the checkpoint's."""

    top_k: int | Literal["best"] | None = BEST
    function_to_apply: Function | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k != BEST:
            check_top_k(self.top_k, "or None for all labels")
        if self.function_to_apply is not None and self.function_to_apply not in tuple(FUNCTIONS):
            raise InputError(
                f"function_to_apply is {self.function_to_apply!r}.", f"Choose one of: {', '.join(FUNCTIONS)}."
            )


@dataclass(frozen=True)
class ClassificationHead(TextHead):
    """`function` names the entry of FUNCTIONS that makes scores of `output`, [batch, labels]."""

    labels: tuple[str, ...]
    function: Function
    output: str = "logits"

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.output,)

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "labels")
        check_labels(spec, self.labels)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: ClassificationOptions
    ) -> list[LabelScore | list[LabelScore]]:
        apply = FUNCTIONS[options.function_to_apply or self.function]
        scores = apply(outputs[self.output].astype(np.float32, copy=False))
        return [self._choose(row, options.top_k) for row in scores]

    def _choose(self, scores: Floats, top_k: int | str | None) -> LabelScore | list[LabelScore]:
        count = 1 if top_k == BEST else top_k
        assert count is None or isinstance(count, int)
        order = np.argsort(-scores, kind="stable")[:count]
        found: list[LabelScore] = [{"label": self.labels[i], "score": float(scores[i])} for i in order]
        return found[0] if top_k == BEST else found


PREDICTOR = TextClassifier


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> ClassificationHead:
    """The head with `settings` {"labels": […], "problem_type": str | None}. Raises BundleError when they are wrong."""
    labels, problem = read_labels(settings), settings.get("problem_type")
    if problem not in (None, "regression", "multi_label_classification", "single_label_classification"):
        raise BundleError(f"The bundle's problem_type is {problem!r:.200}, which bvx does not know.", "Upgrade bvx.")
    function: Function = "softmax"
    if problem == "regression":
        function = "none"
    elif problem == "multi_label_classification" or len(labels) == 1:
        function = "sigmoid"
    return ClassificationHead(labels, function)


def read_labels(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels in a manifest's `head`, in the order of the logits. Raises BundleError when they are none."""
    labels = settings.get("labels")
    if not isinstance(labels, (list, tuple)) or not labels or not all(isinstance(label, str) for label in labels):
        raise BundleError(f"The bundle's labels are {labels!r:.200}; wanted a list of texts.", "Export it again.")
    return tuple(labels)


def check_labels(spec: TensorSpec, labels: tuple[str, ...]) -> None:
    """Raises BundleError when the last axis of the output `spec` has not one value for each label."""
    if isinstance(spec.shape[-1], int) and spec.shape[-1] != len(labels):
        raise BundleError(
            f"The bundle has {len(labels)} labels; its graph gives {spec.shape[-1]} logits.", "Export the bundle again."
        )


def check_top_k(top_k: Any, otherwise: str = "") -> None:
    """Raises InputError when `top_k` is no whole number from 1 on; `otherwise` says what else it may be."""
    if type(top_k) is not int or top_k < 1:
        wanted = f"Give a whole number from 1 on{f', {otherwise}' if otherwise else ''}."
        raise InputError(f"top_k is {top_k!r}.", wanted)
