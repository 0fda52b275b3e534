"""The models' answers to held-out lines, by transformers and torch alone: what every other way has to agree with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import transformers
from scores import Line

__all__ = ["AUTO_CLASSES", "answer"]

AUTO_CLASSES: Mapping[str, Any] = {
    "text-classification": transformers.AutoModelForSequenceClassification,
    "fill-mask": transformers.AutoModelForMaskedLM,
    "pretraining-heads": transformers.AutoModelForPreTraining,
    "replaced-token-detection": transformers.AutoModelForPreTraining,
    "question-answering": transformers.AutoModelForQuestionAnswering,
}

_LONGEST_ANSWER = 15
_BATCH = 50


@torch.no_grad()
def answer(task: str, model: Any, tokenizer: Any, lines: Sequence[Line]) -> list[Any]:
    """An answer for each line, in the form of `scores.read_gold`."""
    model.eval()
    found = []
    for start in range(0, len(lines), _BATCH):
        some = lines[start : start + _BATCH]
        firsts = [line.get("question") or line["text"] for line in some]
        seconds = [line.get("context") or line.get("pair") for line in some]
        pairs = seconds if seconds[0] is not None else None
        batch = tokenizer(firsts, pairs, padding=True, return_tensors="pt")
        found += _READERS[task](batch, model(**batch), model, tokenizer)
    if task == "question-answering":
        return [line["context"][slice(*span)] for line, span in zip(lines, found, strict=True)]
    return found


def _labels(batch: Any, out: Any, model: Any, tokenizer: Any) -> list[str]:
    return [model.config.id2label[index] for index in out.logits.argmax(-1).tolist()]


def _fillings(batch: Any, logits: torch.Tensor, tokenizer: Any) -> list[str]:
    best = logits[batch["input_ids"] == tokenizer.mask_token_id].argmax(-1).tolist()
    return [tokenizer.decode([token]).strip() for token in best]


def _words(batch: Any, out: Any, model: Any, tokenizer: Any) -> list[str]:
    return _fillings(batch, out.logits, tokenizer)


def _words_and_order(batch: Any, out: Any, model: Any, tokenizer: Any) -> list[tuple[str, str]]:
    order = [("in_order", "swapped")[index] for index in out.sop_logits.argmax(-1).tolist()]
    return list(zip(_fillings(batch, out.prediction_logits, tokenizer), order, strict=True))


def _replaced(batch: Any, out: Any, model: Any, tokenizer: Any) -> list[frozenset[Any]]:
    # A logit from 0 on is a probability from a half on.
    flagged = (out.logits >= 0) & (batch["attention_mask"] == 1)
    return [
        frozenset(
            tuple(batch.token_to_chars(row, place))
            for place in flagged[row].nonzero().flatten().tolist()
            if batch.word_ids(row)[place] is not None
        )
        for row in range(len(flagged))
    ]


def _spans(batch: Any, out: Any, model: Any, tokenizer: Any) -> list[tuple[int, int]]:
    """The best span of the context, in characters."""
    found = []
    for row, (starts, ends) in enumerate(zip(out.start_logits, out.end_logits, strict=True)):
        places = [place for place, part in enumerate(batch.sequence_ids(row)) if part == 1]
        first, last = places[0], places[-1] + 1
        sums = starts[first:last, None] + ends[None, first:last]
        sums = sums.masked_fill(~torch.ones_like(sums).triu().tril(_LONGEST_ANSWER - 1).bool(), -torch.inf)
        start, end = divmod(int(sums.argmax()), last - first)
        found.append((batch.token_to_chars(row, first + start).start, batch.token_to_chars(row, first + end).end))
    return found


_READERS: Mapping[str, Callable[..., list[Any]]] = {
    "text-classification": _labels,
    "fill-mask": _words,
    "pretraining-heads": _words_and_order,
    "replaced-token-detection": _replaced,
    "question-answering": _spans,
}
