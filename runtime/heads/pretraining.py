"""pretraining-heads: both answers of ALBERT's and BERT's pre-training, the masks' fillings and the pair's label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from numpy.typing import NDArray

from ..answers import Filling, LabelScore, PretrainingAnswer
from ..encoder import Encoder, Texts
from ..errors import BundleError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..tokenizer import Tokenizer
from . import TextHead, fill_mask, sentence_pairs
from .classification import ClassificationOptions
from .fill_mask import FillMaskHead, FillMaskOptions
from .sentence_pairs import PairHead

__all__ = ["PAIRS", "PREDICTOR", "PretrainingHead", "PretrainingModel", "open_head"]

PAIRS: Mapping[str, str] = {
    "sop_logits": "sentence-order-prediction",
    "seq_relationship_logits": "next-sentence-prediction",
}
"""What each output says of a pair: the same as the task's."""

_PREDICTIONS = "prediction_logits"
_BOTH = ClassificationOptions(top_k=None)


class PretrainingModel(Encoder):
    """pretraining-heads: what stands where a text has masks, and whether its pair follows it."""

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
    ) -> PretrainingAnswer: ...
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
    ) -> list[PretrainingAnswer]: ...
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
        """Per text `top_k` fillings for each of its masks, and both labels of its pair, the likelier first.

        A text without masks has no fillings, one without a pair no labels. The labels are "in_order" and "swapped"
        (ALBERT), or "next" and "not_next" (BERT). `targets` are the only tokens looked at; their scores stay as they
        are. A text longer than `max_length` tokens is cut with `truncate` and refused without. At most `batch_size`
        texts run at once. Raises InputError for texts or options that cannot be used.
        """
        head: Any = self._read_texts().head
        options = head.masks.read_options(top_k, targets)
        return self._answer(texts, pairs, options, truncate=truncate, batch_size=batch_size)


@dataclass(frozen=True)
class PretrainingHead(TextHead):
    """Answers with two other heads."""

    masks: FillMaskHead
    pair: PairHead

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.masks.outputs, *self.pair.outputs)

    def check_output(self, spec: TensorSpec) -> None:
        head = self.masks if spec.name in self.masks.outputs else self.pair
        head.check_output(spec)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: FillMaskOptions
    ) -> list[tuple[list[list[Filling]], Any]]:
        labels = self.pair.decode(outputs, batch, _BOTH)
        return list(zip(self.masks.fill(outputs, batch, options), labels, strict=True))

    def answer(
        self, text: str, second: str | None, parts: Sequence[tuple[list[list[Filling]], list[LabelScore]]], options: Any
    ) -> PretrainingAnswer:
        fillings, labels = parts[0]
        return {"fillings": fillings, "pair": labels if second is not None else []}


PREDICTOR = PretrainingModel


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> PretrainingHead:
    """The head with fill-mask's settings and "pair_output", a key of PAIRS. Raises BundleError when they are wrong."""
    masks = replace(fill_mask.open_head(task, settings, tokenizer), output=_PREDICTIONS)
    output = settings.get("pair_output")
    if output not in tuple(PAIRS):
        raise BundleError(f"The bundle's pair_output is {output!r:.200}; bvx knows {', '.join(PAIRS)}.", "Upgrade bvx.")
    pair = replace(sentence_pairs.open_head(PAIRS[output], {}, tokenizer), output=output)
    return PretrainingHead(masks, pair)
