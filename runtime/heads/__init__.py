"""The heads: what each task's answer is made of. A new one is a file and a line in HEADS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from ..errors import BundleError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens

if TYPE_CHECKING:
    from ..encoder import Encoder

__all__ = ["HEADS", "Head", "Seconds", "TextHead", "check_rank", "find_predictor", "open_head"]

Seconds = Literal["none", "optional", "needed"]


class Head(Protocol):
    """One task's way from texts to what runs, and from the graph's outputs to answers.

    A head's file defines `open_head(task, settings, tokenizer) -> Head`, where settings is the manifest's `head`, and
    `PREDICTOR`, the Encoder that answers with it. `outputs` are the graph's outputs that it reads; `seconds` says
    whether an input has a second part (a pair, a context, choices): "none", "optional" or "needed".
    """

    outputs: tuple[str, ...]
    seconds: Seconds

    def check_output(self, spec: TensorSpec) -> None:
        """Raises BundleError when one of the graph's `outputs`, which is `spec`, is not what this head reads."""

    def encode(
        self, tokenizer: Tokenizer, texts: Sequence[str], seconds: Sequence[Any] | None, truncate: bool, options: Any
    ) -> Sequence[Sequence[Tokens]]:
        """What runs for each of `texts`: one sequence of tokens, or several (windows of a context, choices).

        Raises InputError when one of the texts has no answer, before anything runs.
        """

    def decode(self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: Any) -> Sequence[Any]:
        """One part of an answer for each sequence of `batch`, in its order.

        `outputs` are [batch, …], padding included; a part that keeps a view of them keeps a whole batch in memory.
        """

    def answer(self, text: str, second: Any, parts: Sequence[Any], options: Any) -> Any:
        """The answer to one input, of the parts of all its sequences, in the order that `encode` gave them."""


class TextHead:
    """What most heads have in common: a text, or a pair, is one sequence, and its part is the answer."""

    outputs: tuple[str, ...] = ("logits",)
    seconds: Seconds = "optional"
    reads_offsets = False
    """Whether `decode` looks at where a token comes from in its text (Tokens.origin)."""

    def encode(
        self, tokenizer: Tokenizer, texts: Sequence[str], seconds: Sequence[Any] | None, truncate: bool, options: Any
    ) -> Sequence[Sequence[Tokens]]:
        tokens = tokenizer.encode(texts, seconds, truncate=truncate, with_origin=self.reads_offsets)
        self.check(tokens)
        return [(one,) for one in tokens]

    def check(self, tokens: Sequence[Tokens]) -> None:
        """Raises InputError when one of the texts has no answer."""

    def answer(self, text: str, second: Any, parts: Sequence[Any], options: Any) -> Any:
        return parts[0]


HEADS: Mapping[str, str] = {
    "feature-extraction": "features",
    "sentence-similarity": "similarity",
    "text-classification": "classification",
    "token-classification": "token_classification",
    "question-answering": "question_answering",
    "multiple-choice": "multiple_choice",
    "fill-mask": "fill_mask",
    "text-ranking": "ranking",
    "replaced-token-detection": "replaced_tokens",
    "sentence-order-prediction": "sentence_pairs",
    "next-sentence-prediction": "sentence_pairs",
    "pretraining-heads": "pretraining",
}
"""The module in this folder that answers each task."""


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> Head:
    """The head of `task`. Raises BundleError when bvx has none, or `settings` do not fit it."""
    head: Head = _module(task).open_head(task, settings, tokenizer)
    return head


def find_predictor(task: str) -> type[Encoder]:
    """The class that answers `task`. Raises BundleError when bvx has none."""
    predictor: type[Encoder] = _module(task).PREDICTOR
    return predictor


def _module(task: str) -> ModuleType:
    if task not in HEADS:
        raise BundleError(
            f"This bundle's task is {task!r}; this bvx answers {', '.join(HEADS)}.",
            "Upgrade bvx (`pip install --upgrade bvx`).",
        )
    return import_module(f".{HEADS[task]}", __name__)


def check_rank(spec: TensorSpec, *axes: str) -> None:
    """Raises BundleError when `spec` has not these axes."""
    if len(spec.shape) != len(axes):
        raise BundleError(
            f"The bundle's {spec.name} is [{', '.join(map(str, spec.shape))}]; its task reads [{', '.join(axes)}].",
            "Export the bundle again.",
        )
