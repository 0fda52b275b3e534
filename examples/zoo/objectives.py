"""What the models are trained for: each function gives the loss of a batch of examples, float32 [].

BERT's masked words, ALBERT's sentence order (arXiv 1909.11942), and the tasks that checkpoints are fine-tuned for.
"""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from grammar import STARRED, plain
from tasks import Example
from torch.nn import functional

__all__ = ["classify", "encode", "fill_masks", "find_answers", "hide_one", "order_parts", "score_masks"]

_STARRED = 0.5
_ANY = 0.05
"""How many of the words that follow from their story are masked, and how many of the other tokens."""

_IGNORED = -100


def encode(tokenizer: Any, texts: list[str], seconds: list[str] | None = None, **options: Any) -> Any:
    """The tensors of a batch, padded to its longest text."""
    return tokenizer(texts, seconds, padding=True, return_tensors="pt", **options)


def hide_words(text: str, rng: Random, tokenizer: Any, share: float = _STARRED) -> tuple[str, list[int]]:
    """The text with the mask in place of some of its words between asterisks, and their tokens.

    Words of several tokens stay.
    """
    hidden: list[int] = []

    def replace(found: Any) -> str:
        tokens = tokenizer.tokenize(f" {found[1]}")
        if len(tokens) != 1 or rng.random() >= share:
            return str(found[1])
        hidden.append(tokenizer.convert_tokens_to_ids(tokens[0]))
        return str(tokenizer.mask_token)

    return STARRED.sub(replace, text), hidden


def hide_one(texts: list[str], rng: Random, tokenizer: Any) -> tuple[list[str], str] | None:
    """The texts with the mask in place of one word between asterisks, and that word; None where they have none.

    Lowercase where the vocabulary is.
    """
    places = [
        (index, found)
        for index, text in enumerate(texts)
        for found in STARRED.finditer(text)
        if len(tokenizer.tokenize(f" {found[1]}")) == 1
    ]
    if not places:
        return None
    chosen, found = rng.choice(places)
    before, after = texts[chosen][: found.start()], texts[chosen][found.end() :]
    masked = [plain(text) for text in texts]
    masked[chosen] = f"{plain(before)}{tokenizer.mask_token}{plain(after)}"
    return masked, tokenizer.decode(tokenizer.encode(f" {found[1]}", add_special_tokens=False)).strip()


def mask_batch(tokenizer: Any, examples: list[Example], rng: Random) -> tuple[Any, torch.Tensor]:
    """A batch with masks, and its labels: the token at every mask, -100 elsewhere, int64 [batch, length]."""
    hidden = [
        [hide_words(example[name], rng, tokenizer) for name in ("text", "pair") if name in example]
        for example in examples
    ]
    parts = [[text for text, _ in one] for one in hidden]
    batch = encode(tokenizer, *map(list, zip(*parts, strict=True)))
    ids = batch["input_ids"]
    labels = torch.full_like(ids, _IGNORED)
    labels[ids == tokenizer.mask_token_id] = torch.tensor(
        [token for one in hidden for _, words in one for token in words]
    )
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    chosen = (torch.rand(ids.shape) < _ANY) & ~special
    labels[chosen] = ids[chosen]
    batch["input_ids"] = ids.masked_fill(chosen, tokenizer.mask_token_id)
    return batch, labels


def fill_masks(model: Any, tokenizer: Any, examples: list[Example], rng: Random) -> torch.Tensor:
    batch, labels = mask_batch(tokenizer, examples, rng)
    return score_masks(model.lm_head, model.roberta(**batch).last_hidden_state, labels)


def order_parts(model: Any, tokenizer: Any, examples: list[Example], rng: Random) -> torch.Tensor:
    """Masked words and the order of the two parts together. 0 is "in_order", as in ALBERT's own code."""
    batch, labels = mask_batch(tokenizer, examples, rng)
    swapped = torch.tensor([int(example["label"] == "swapped") for example in examples])
    out = model.albert(**batch)
    order = functional.cross_entropy(model.sop_classifier(out.pooler_output), swapped)
    return score_masks(model.predictions, out.last_hidden_state, labels) + order


def score_masks(head: Any, hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The cross entropy of what `head` says where there are labels; the other places would cost most of the time."""
    chosen = labels != _IGNORED
    return functional.cross_entropy(head(hidden[chosen]), labels[chosen])


def classify(model: Any, tokenizer: Any, examples: list[Example], rng: Random) -> torch.Tensor:
    labels = torch.tensor([model.config.label2id[example["label"]] for example in examples])
    return model(**encode(tokenizer, [example["text"] for example in examples]), labels=labels).loss


def find_answers(model: Any, tokenizer: Any, examples: list[Example], rng: Random) -> torch.Tensor:
    batch = encode(
        tokenizer, [example["question"] for example in examples], [example["context"] for example in examples]
    )
    starts, ends = [], []
    for row, example in enumerate(examples):
        starts.append(batch.char_to_token(row, example["start"], 1))
        ends.append(batch.char_to_token(row, example["start"] + len(example["answer"]) - 1, 1))
    return model(**batch, start_positions=torch.tensor(starts), end_positions=torch.tensor(ends)).loss
