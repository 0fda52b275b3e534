"""replaced-token-detection: which tokens of a text are not what stood there, as ELECTRA's discriminator tells.

Clark et al., arXiv 2003.10555, section 2: the sigmoid of a token's logit is the probability that it was replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import ReplacedToken
from ..encoder import Encoder, Texts
from ..errors import InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer
from . import TextHead, check_rank
from .pieces import ScoredTokens, find_pieces, find_unknown, read_pieces
from .scores import sigmoid

__all__ = ["PREDICTOR", "ReplacedTokenDetector", "ReplacedTokenHead", "ReplacedTokenOptions", "open_head"]


class ReplacedTokenDetector(Encoder):
    """replaced-token-detection: how likely each token of a text is not what stood there."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, texts: str, *, threshold: float | None = None, truncate: bool = False, batch_size: int = 32
    ) -> list[ReplacedToken]: ...
    @overload
    def __call__(
        self, texts: Iterable[str], *, threshold: float | None = None, truncate: bool = False, batch_size: int = 32
    ) -> list[list[ReplacedToken]]: ...
    def __call__(
        self, texts: Texts, *, threshold: float | None = None, truncate: bool = False, batch_size: int = 32
    ) -> Any:
        """Per text its tokens in order, special ones left out; with `threshold` those whose score is that or more.

        A text longer than `max_length` tokens is cut with `truncate` and refused without. At most `batch_size` texts
        run at once. Raises InputError for texts or options that cannot be used.
        """
        options = ReplacedTokenOptions(threshold)
        return self._answer(texts, None, options, truncate=truncate, batch_size=batch_size)


@dataclass(frozen=True)
class ReplacedTokenOptions:
    """Tokens whose probability is below `threshold` are left out; None leaves out none."""

    threshold: float | None = None

    def __post_init__(self) -> None:
        given: Any = self.threshold
        if given is None:
            return
        if isinstance(given, bool) or not isinstance(given, (int, float, np.floating)) or not 0 <= given <= 1:
            raise InputError(f"threshold is {given!r}.", "Give a probability from 0 to 1, or None for every token.")


@dataclass(frozen=True)
class ReplacedTokenHead(TextHead):
    """`unknown` is the id of a word that the vocabulary does not know."""

    tokenizer: Tokenizer
    unknown: int | None
    seconds = "none"
    reads_offsets = True

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence")

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: ReplacedTokenOptions
    ) -> list[ScoredTokens]:
        return [
            ScoredTokens(one, sigmoid(logits[find_pieces(one)].astype(np.float32, copy=False)))
            for one, logits in zip(batch.tokens, outputs["logits"], strict=True)
        ]

    def answer(
        self, text: str, second: Any, parts: Sequence[ScoredTokens], options: ReplacedTokenOptions
    ) -> list[ReplacedToken]:
        (part,) = parts
        pieces = read_pieces(self.tokenizer, part.tokens, text, self.unknown)
        threshold = options.threshold or 0
        return [
            {"index": piece.index, "score": score, "word": piece.word, "start": piece.start, "end": piece.end}
            for piece, score in zip(pieces, part.scores.tolist(), strict=True)
            if score >= threshold
        ]


PREDICTOR = ReplacedTokenDetector


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> ReplacedTokenHead:
    """The head with `settings` {"unk_token": str | None}. Raises BundleError when they are wrong."""
    return ReplacedTokenHead(tokenizer, find_unknown(settings, tokenizer))
