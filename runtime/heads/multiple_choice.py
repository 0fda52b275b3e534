"""multiple-choice: which of several texts goes best with a text.

The graph reads one choice at a time, [batch, length], and gives it one logit, so that texts with any number of choices
run together. The softmax over the choices of one text is taken here: transformers' models give the same logits as
[batch, choices].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import Choice
from ..encoder import Encoder, Texts, as_list
from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import Seconds, check_rank
from .scores import softmax

__all__ = ["PREDICTOR", "MultipleChoice", "MultipleChoiceHead", "open_head"]


class MultipleChoice(Encoder):
    """multiple-choice: which of several texts goes best with a text."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str, choices: Iterable[str], *, truncate: bool = False, batch_size: int = 32
    ) -> list[Choice]: ...
    @overload
    def __call__(
        self, texts: Iterable[str], choices: Iterable[Iterable[str]], *, truncate: bool = False, batch_size: int = 32
    ) -> list[list[Choice]]: ...
    def __call__(
        self,
        texts: Texts,
        choices: Iterable[str] | Iterable[Iterable[str]],
        *,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> Any:
        """Per text its choices by their probability, which sums to 1 over them, the best first.

        Several texts take a list of choices each, of any number. A text that is longer than `max_length` tokens with
        one of its choices is cut with `truncate`, the longer of the two first, and refused without. At most
        `batch_size` choices run at once. Raises InputError for texts or choices that cannot be used.
        """
        first = as_list(texts, "texts")
        second = _read_choices(first, choices, single=isinstance(texts, str))
        answers = self._answer_all(first, second, None, truncate=truncate, batch_size=batch_size)
        return answers[0] if isinstance(texts, str) else answers


@dataclass(frozen=True)
class MultipleChoiceHead:
    """One logit for each choice; an input's second part is a list of choices."""

    outputs: tuple[str, ...] = ("logits",)
    seconds: Seconds = "needed"

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "score")
        if isinstance(spec.shape[1], int) and spec.shape[1] != 1:
            raise BundleError(f"The graph gives {spec.shape[1]} logits for a choice; wanted 1.", "Export it again.")

    def encode(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        seconds: Sequence[Sequence[str]] | None,
        truncate: bool,
        options: None,
    ) -> Sequence[Sequence[Tokens]]:
        assert seconds is not None
        repeated = [text for text, choices in zip(texts, seconds, strict=True) for _ in choices]
        flat = [choice for choices in seconds for choice in choices]
        try:
            tokens = iter(tokenizer.encode(repeated, flat, truncate=truncate))
        except InputError:
            _name_choice(tokenizer, texts, seconds, truncate)
            raise
        return [[next(tokens) for _ in choices] for choices in seconds]

    def decode(self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: None) -> list[float]:
        return [float(logit) for logit in outputs["logits"][:, 0]]

    def answer(self, text: str, second: Sequence[str], parts: Sequence[float], options: None) -> list[Choice]:
        scores = softmax(np.array(parts, np.float32))
        order = np.argsort(-scores, kind="stable").tolist()
        return [{"index": index, "score": float(scores[index]), "text": second[index]} for index in order]


PREDICTOR = MultipleChoice


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> MultipleChoiceHead:
    """The head of multiple-choice, which has no settings."""
    return MultipleChoiceHead()


def _read_choices(texts: Sequence[str], choices: Any, *, single: bool) -> list[list[str]]:
    """The choices of each of `texts`. Raises InputError for a text that has none."""
    wanted = "Give a list of choices to each text."
    if isinstance(choices, str):
        raise InputError("choices is a single text.", wanted)
    listed = [choices] if single else as_list(choices, "choices")
    if len(listed) != len(texts):
        raise InputError(f"There are {len(texts)} texts and {len(listed)} lists of choices.", wanted)
    found = []
    for number, some in enumerate(listed):
        name = "choices" if single else f"choices[{number}]"
        if isinstance(some, str):
            raise InputError(f"{name} is a single text.", wanted)
        found.append(as_list(some, name))
        if not found[-1]:
            raise InputError(f"{name} is empty.", "Give at least one choice to each text.")
    return found


def _name_choice(tokenizer: Tokenizer, texts: Sequence[str], choices: Sequence[Sequence[str]], truncate: bool) -> None:
    """Raises InputError that names the first choice which cannot be used with its text."""
    for number, (text, some) in enumerate(zip(texts, choices, strict=True)):
        for place, choice in enumerate(some):
            try:
                tokenizer.encode([text], [choice], truncate=truncate)
            except InputError as error:
                name = f"choices[{place}]" if len(texts) == 1 else f"texts[{number}] with choices[{number}][{place}]"
                raise InputError(f"{name}: {error.cause}", error.next_step) from error
