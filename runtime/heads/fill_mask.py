"""fill-mask: the likeliest tokens for every mask, as transformers' FillMaskPipeline gives them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import Filling, Fillings
from ..encoder import Encoder, Texts
from ..errors import BundleError, InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer, Tokens
from . import TextHead, check_rank
from .classification import check_top_k
from .scores import softmax

__all__ = ["PREDICTOR", "FillMaskHead", "FillMaskOptions", "MaskFiller", "open_head"]

_LOG = logging.getLogger(__name__)

_NO_SPACE_BEFORE = (".", "?", "!", ",", "' ", "n't", "'m", "'s", "'ve", "'re")
"""What transformers' PreTrainedTokenizerBase.clean_up_tokenization moves to the left, in its order."""


class MaskFiller(Encoder):
    """fill-mask: which tokens stand best where a text has a mask."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        texts: str,
        pairs: str | None = None,
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> Fillings: ...
    @overload
    def __call__(
        self,
        texts: Iterable[str],
        pairs: Iterable[str] | None = None,
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> list[Fillings]: ...
    def __call__(
        self,
        texts: Texts,
        pairs: Texts | None = None,
        *,
        top_k: int = 5,
        targets: str | Sequence[str] | None = None,
        truncate: bool = False,
        batch_size: int = 32,
    ) -> Any:
        """Per text `top_k` fillings of its mask, the best first; of several masks, one such list for each.

        `targets`, one token or several, are the only ones looked at; their scores stay as they are. A text longer than
        `max_length` tokens is cut with `truncate` and refused without. At most `batch_size` texts run at once. Raises
        InputError for a text without a mask, and for texts or options that cannot be used.
        """
        head: Any = self._read_texts().head
        options = head.read_options(top_k, targets)
        return self._answer(texts, pairs, options, truncate=truncate, batch_size=batch_size)


@dataclass(frozen=True)
class FillMaskOptions:
    """`top_k` fillings per mask, of the tokens `ids`, int64 ascending, or of the whole vocabulary where it is None."""

    top_k: int = 5
    ids: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class FillMaskHead(TextHead):
    """Finds the masks by `mask_id`; `output` is [batch, sequence, vocabulary]."""

    tokenizer: Tokenizer
    mask_token: str
    mask_id: int
    clean_up: bool
    output: str = "logits"

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.output,)

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

    def decode(self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: FillMaskOptions) -> list[Fillings]:
        answers = self.fill(outputs, batch, options)
        return [one[0] if len(one) == 1 else one for one in answers]

    def fill(
        self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: FillMaskOptions
    ) -> list[list[list[Filling]]]:
        """Per sequence one list of fillings for each of its masks."""
        found = (batch.arrays["input_ids"] == self.mask_id) & (batch.arrays["attention_mask"] != 0)
        return [
            self._fill_masks(one.ids, logits[masks].astype(np.float32, copy=False), options)
            for one, logits, masks in zip(batch.tokens, outputs[self.output], found, strict=True)
        ]

    def _fill_masks(
        self, ids: NDArray[np.int64], logits: NDArray[np.float32], wanted: FillMaskOptions
    ) -> list[list[Filling]]:
        """`logits` are [masks, vocabulary]."""
        places = np.flatnonzero(ids == self.mask_id)
        if not len(places):
            return []
        return [
            [self._fill(ids, int(place), token, float(row[token]), len(places) == 1) for token in _best(row, wanted)]
            for place, row in zip(places, softmax(logits), strict=True)
        ]

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

    def read_options(self, top_k: int, targets: str | Sequence[str] | None) -> FillMaskOptions:
        """What a caller asked for. Raises InputError for what cannot be used."""
        check_top_k(top_k)
        return FillMaskOptions(top_k, None if targets is None else self._find_targets(targets))

    def _find_targets(self, targets: str | Sequence[str]) -> NDArray[np.int64]:
        """The ids of these tokens, ascending. Raises InputError for what is no token."""
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


PREDICTOR = MaskFiller


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> FillMaskHead:
    """The head with `settings` {"mask_token": str, "mask_token_id": int, "clean_up_tokenization_spaces": bool}."""
    token, number = settings.get("mask_token"), settings.get("mask_token_id")
    if not isinstance(token, str) or type(number) is not int:
        raise BundleError(f"The bundle's mask token is {token!r:.200}, with id {number!r:.200}.", "Export it again.")
    return FillMaskHead(tokenizer, token, number, settings.get("clean_up_tokenization_spaces") is True)


def _best(scores: NDArray[np.float32], wanted: FillMaskOptions) -> list[int]:
    """The ids with the best scores, best first; of equals, the lower id first."""
    ids = np.arange(len(scores)) if wanted.ids is None else wanted.ids[wanted.ids < len(scores)]
    count = min(wanted.top_k, len(ids))
    if count < len(ids):
        ids = ids[np.argpartition(-scores[ids], count - 1)[:count]]
    best: list[int] = ids[np.lexsort((ids, -scores[ids]))].tolist()
    return best
