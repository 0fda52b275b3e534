"""token-classification: labels of tokens, or entities, as transformers' TokenClassificationPipeline gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import EntityGroup, TokenLabel
from ..encoder import Encoder, Texts
from ..errors import InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import TextHead, check_rank
from .classification import check_labels, read_labels
from .entities import GroupingStrategy, Strategy, find_entities, label_pieces, merge_windows
from .pieces import ScoredTokens, find_pieces, find_unknown, read_pieces
from .scores import softmax

__all__ = ["PREDICTOR", "TokenClassificationHead", "TokenClassificationOptions", "TokenClassifier", "open_head"]


class TokenClassifier(Encoder):
    """token-classification: which parts of a text are names of persons, places, …, or which part of speech."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        aggregation_strategy: Literal["none"] = "none",
        ignore_labels: Iterable[str] = ("O",),
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[TokenLabel]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        *,
        aggregation_strategy: GroupingStrategy,
        ignore_labels: Iterable[str] = ("O",),
        stride: int | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[EntityGroup]: ...
    @overload
    def __call__(
        self,
        texts: Iterable[str],
        *,
        aggregation_strategy: Literal["none"] = "none",
        ignore_labels: Iterable[str] = ("O",),
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[list[TokenLabel]]: ...
    @overload
    def __call__(
        self,
        texts: Iterable[str],
        *,
        aggregation_strategy: GroupingStrategy,
        ignore_labels: Iterable[str] = ("O",),
        stride: int | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[list[EntityGroup]]: ...
    def __call__(
        self,
        texts: Texts,
        *,
        aggregation_strategy: Strategy = "none",
        ignore_labels: Iterable[str] = ("O",),
        stride: int | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> Any:
        """Per text its tokens with their labels, or its entities: neighbours of one label, B- and I- taken off.

        `aggregation_strategy` says how they come together: "none" keeps tokens apart; "simple" joins tokens; the others
        join words, with the label of the first token ("first"), of the surest ("max") or of the mean of all
        ("average"). `ignore_labels` are left out, named as they would be in the answer.

        A text longer than `max_length` tokens is refused, or cut with `truncate`, or with `stride` and an aggregation
        read in windows: each repeats that many tokens of the one before, and of entities that overlap the longer one
        stays. At most `batch_size` texts or windows run at once. Raises InputError for texts or options that cannot be
        used.
        """
        options = TokenClassificationOptions(aggregation_strategy, _read_names(ignore_labels), stride)
        if stride is not None and truncate:
            raise InputError("truncate cuts a long text, and stride reads all of it.", "Give one of them.")
        return self._answer(texts, None, options, truncate=truncate, batch_size=batch_size)


@dataclass(frozen=True)
class TokenClassificationOptions:
    """`strategy` is the aggregation; labels in `ignored` are left out; `stride` tokens stand in two windows."""

    strategy: Strategy = "none"
    ignored: tuple[str, ...] = ("O",)
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.strategy not in get_args(Strategy):
            raise InputError(
                f"aggregation_strategy is {self.strategy!r}.", f"Choose one of: {', '.join(get_args(Strategy))}."
            )
        if self.stride is not None and self.strategy == "none":
            raise InputError(
                "stride reads a text in windows, and without aggregation their answers cannot be joined.",
                "Choose an aggregation_strategy other than 'none'.",
            )


@dataclass(frozen=True)
class TokenClassificationHead(TextHead):
    """`labels` in the order of the logits; `unknown` is the id of a word that the vocabulary does not know."""

    tokenizer: Tokenizer
    labels: tuple[str, ...]
    unknown: int | None
    seconds = "none"
    reads_offsets = True

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence", "labels")
        check_labels(spec, self.labels)

    def encode(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        seconds: Sequence[Any] | None,
        truncate: bool,
        options: TokenClassificationOptions,
    ) -> Sequence[Sequence[Tokens]]:
        if options.stride is None:
            return super().encode(tokenizer, texts, seconds, truncate, options)
        return tokenizer.encode_windows(texts, stride=options.stride)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: TokenClassificationOptions
    ) -> list[ScoredTokens]:
        return [
            ScoredTokens(one, softmax(logits[find_pieces(one)].astype(np.float32, copy=False)))
            for one, logits in zip(batch.tokens, outputs["logits"], strict=True)
        ]

    def answer(
        self, text: str, second: Any, parts: Sequence[ScoredTokens], options: TokenClassificationOptions
    ) -> list[TokenLabel] | list[EntityGroup]:
        found: list[EntityGroup] = []
        for part in parts:
            pieces = read_pieces(self.tokenizer, part.tokens, text, self.unknown)
            if options.strategy == "none":
                return label_pieces(pieces, part.scores, self.labels, options.ignored)
            found += find_entities(
                pieces, part.scores, self.labels, options.ignored, options.strategy, self.tokenizer.join
            )
        return merge_windows(found) if len(parts) > 1 else found


PREDICTOR = TokenClassifier


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> TokenClassificationHead:
    """The head with `settings` {"labels": […], "unk_token": str | None}. Raises BundleError when they are wrong."""
    return TokenClassificationHead(tokenizer, read_labels(settings), find_unknown(settings, tokenizer))


def _read_names(labels: Any) -> tuple[str, ...]:
    """Raises InputError for what is no list of labels."""
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise InputError(f"ignore_labels is {labels!r:.200}.", "Give a list of labels, or () for all of them.")
    names = tuple(labels)
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"ignore_labels has {name!r:.200}, which is no label.", "Give labels as texts.")
    return names
