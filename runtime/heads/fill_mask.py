"""fill-mask: the likeliest tokens for every mask, as transformers' FillMaskPipeline gives them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import check_rank, read_options

__all__ = ["FillMaskHead", "FillMaskOptions", "Filling", "open_head"]

_LOG = logging.getLogger(__name__)

_NO_SPACE_BEFORE = (".", "?", "!", ",", "' ", "n't", "'m", "'s", "'ve", "'re")
"""What transformers' PreTrainedTokenizerBase.clean_up_tokenization moves to the left, in its order."""


class Filling(TypedDict):
    """One token for a mask: its probability, its id, how it reads alone, and the text with it in the mask's place."""

    score: float
    token: int
    token_str: str
    sequence: str


@dataclass(frozen=True)
class FillMaskOptions:
    """`top_k` fillings per mask; `targets`, one or several tokens, restricts which (scores stay as they are)."""

    top_k: int = 5
    targets: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if type(self.top_k) is not int or self.top_k < 1:
            raise InputError(f"top_k is {self.top_k!r}.", "Give a whole number from 1 on.")


@dataclass(frozen=True)
class _Wanted:
    """Options with the targets looked up: `ids` int64 ascending, or None for the whole vocabulary."""

    top_k: int
    ids: NDArray[np.int64] | None


@dataclass(frozen=True)
class FillMaskHead:
    """Per text a list of Filling, the best first; per text with several masks, one such list for each of them."""

    tokenizer: Tokenizer
    mask_token: str
    mask_id: int
    clean_up: bool
    output = "logits"
    takes_pairs = True

    def read_options(self, given: Mapping[str, Any]) -> _Wanted:
        options = read_options(FillMaskOptions, given, "fill-mask")
        return _Wanted(options.top_k, None if options.targets is None else self._find_targets(options.targets))

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence", "vocabulary")

    def check(self, tokens: Sequence[Tokens]) -> None:
        for number, one in enumerate(tokens):
            if not (one.ids == self.mask_id).any():
                name = "The text" if len(tokens) == 1 else f"texts[{number}]"
                raise InputError(
                    f"{name} has no {self.mask_token}, or it was cut off.",
                    f"Write {self.mask_token} where a word is missing.",
                )

    def decode(self, output: NDArray[Any], batch: Batch, options: _Wanted) -> list[list[Filling] | list[list[Filling]]]:
        found = (batch.arrays["input_ids"] == self.mask_id) & (batch.arrays["attention_mask"] != 0)
        return [
            self._answer(one.ids, logits[masks].astype(np.float32, copy=False), options)
            for one, logits, masks in zip(batch.tokens, output, found, strict=True)
        ]

    def _answer(
        self, ids: NDArray[np.int64], logits: NDArray[np.float32], wanted: _Wanted
    ) -> list[Filling] | list[list[Filling]]:
        """`logits` are [masks, vocabulary]."""
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores = powers / powers.sum(axis=-1, keepdims=True)
        places = np.flatnonzero(ids == self.mask_id)
        single = len(places) == 1
        answers = [
            [self._fill(ids, int(place), token, float(row[token]), single) for token in _best(row, wanted)]
            for place, row in zip(places, scores, strict=True)
        ]
        return answers[0] if single else answers

    def _fill(self, ids: NDArray[np.int64], place: int, token: int, score: float, single: bool) -> Filling:
        filled = ids.copy()
        filled[place] = token
        # Other masks are special tokens too: with several, special tokens stay, or the text would read as if complete.
        sequence = self._read(filled.tolist(), skip_special_tokens=single)
        return {"score": score, "token": token, "token_str": self._read([token]), "sequence": sequence}

    def _read(self, ids: list[int], *, skip_special_tokens: bool = False) -> str:
        text = self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
        for mark in _NO_SPACE_BEFORE if self.clean_up else ():
            text = text.replace(" " + mark, mark.rstrip())
        return text

    def _find_targets(self, targets: str | Sequence[str]) -> NDArray[np.int64]:
        if not isinstance(targets, (str, Sequence)):
            raise InputError(f"targets is {type(targets).__name__}.", "Give a token, or a list of tokens.")
        ids = set()
        for target in [targets] if isinstance(targets, str) else targets:
            if not isinstance(target, str):
                raise InputError(f"A target is {type(target).__name__}, not str.", "Give tokens as texts.")
            token = self.tokenizer.find(target)
            if token is None:
                pieces = self.tokenizer.split(target)
                if not pieces:
                    raise InputError(f"The target {target!r} has no token.", "Leave it out.")
                token = pieces[0]
                _LOG.warning("%r is no token of this vocabulary; %r stands for it.", target, self._read([token]))
            ids.add(token)
        if not ids:
            raise InputError("targets is empty.", "Give at least one token, or leave it out.")
        return np.array(sorted(ids), np.int64)


def open_head(settings: Mapping[str, Any], tokenizer: Tokenizer) -> FillMaskHead:
    """The head with `settings` {"mask_token": str, "mask_token_id": int, "clean_up_tokenization_spaces": bool}."""
    token, number = settings.get("mask_token"), settings.get("mask_token_id")
    if not isinstance(token, str) or type(number) is not int:
        raise BundleError(f"The bundle's mask token is {token!r:.200}, with id {number!r:.200}.", "Export it again.")
    return FillMaskHead(tokenizer, token, number, settings.get("clean_up_tokenization_spaces") is True)


def _best(scores: NDArray[np.float32], wanted: _Wanted) -> list[int]:
    """The ids with the best scores, best first; of equals, the lower id first."""
    ids = np.arange(len(scores)) if wanted.ids is None else wanted.ids[wanted.ids < len(scores)]
    count = min(wanted.top_k, len(ids))
    if count < len(ids):
        ids = ids[np.argpartition(-scores[ids], count - 1)[:count]]
    best: list[int] = ids[np.lexsort((ids, -scores[ids]))].tolist()
    return best
