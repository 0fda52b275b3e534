"""Two ways of pre-training that need more than a model with its head: SpanBERT's and ELECTRA's.

What they need more, the boundary's head and the generator, the trained model does without.
"""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from grammar import STARRED, plain
from objectives import encode
from tasks import Example
from torch import nn
from torch.nn import functional
from words import CLOSED

__all__ = ["ReplacedTokens", "SpanBoundary"]

_MASKED = 0.15
_SPAN_CONTINUES = 0.8
_LONGEST_SPAN = 10
_DISCRIMINATOR = 50.0
"""The weight of the discriminator's loss (arXiv 2003.10555, section 2)."""

_TEMPERATURE = 1.5
"""A little over 1, so that a generator that has learned its grammar still leaves something to find."""

_FOLLOWING = 0.4
_CLOSED = 0.1
"""How many of the words that follow from their story the generator draws, and how many closed ones.

It draws no others: whether a lamp is red or blue when it is first told of, nobody could say.
"""


class SpanBoundary(nn.Module):
    """Masked spans, predicted as usual, and once more from their two neighbours (arXiv 1907.10529, section 3.2)."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.tokenizer = model, tokenizer
        size = model.config.hidden_size
        self.place = nn.Embedding(_LONGEST_SPAN, size)
        self.layers = nn.Sequential(
            *(nn.Linear(3 * size, size), nn.GELU(), nn.LayerNorm(size)),
            *(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size)),
        )

    def forward(self, examples: list[Example], rng: Random) -> torch.Tensor:
        batch = encode(self.tokenizer, [plain(example["text"]) for example in examples])
        ids = batch["input_ids"].clone()
        # Per masked token: its row, the places before and after its span, how far it is into the span, its place.
        found = []
        for row in range(len(examples)):
            for start, end in self._draw_spans(batch.word_ids(row), rng):
                found += [(row, start - 1, end, place - start, place) for place in range(start, end)]
                self._hide(batch["input_ids"][row, start:end], rng)
        rows, before, after, distances, places = torch.tensor(found).unbind(1)
        hidden = self.model.bert(**batch).last_hidden_state
        both = torch.cat([hidden[rows, before], hidden[rows, after], self.place(distances)], dim=-1)
        table = self.model.bert.embeddings.word_embeddings.weight
        wanted = ids[rows, places]
        usual = functional.cross_entropy(self.model.cls(hidden[rows, places]), wanted)
        return usual + functional.cross_entropy(self.layers(both) @ table.T, wanted)

    def _draw_spans(self, words: list[int | None], rng: Random) -> list[tuple[int, int]]:
        """Spans of whole words, [start, end) in tokens, that do not touch: about 15 % of the text.

        Their lengths in words are geometric.
        """
        starts = [place for place, word in enumerate(words) if word is not None and word != words[place - 1]]
        ends = [*starts[1:], 1 + max(place for place, word in enumerate(words) if word is not None)]
        taken: set[int] = set()
        spans = []
        budget = max(1, round(_MASKED * len(starts)))
        while budget > 0:
            length = 1
            while length < min(budget, 6) and rng.random() < _SPAN_CONTINUES:
                length += 1
            first = rng.randrange(len(starts) - length + 1)
            span = starts[first], min(ends[first + length - 1], starts[first] + _LONGEST_SPAN)
            budget -= length
            if taken.isdisjoint(range(span[0] - 1, span[1] + 1)):
                taken.update(range(*span))
                spans.append(span)
        return spans

    def _hide(self, ids: torch.Tensor, rng: Random) -> None:
        """In place: eight spans of ten become masks, one becomes other tokens, one stays."""
        kind = rng.random()
        if kind < 0.8:
            ids.fill_(self.tokenizer.mask_token_id)
        elif kind < 0.9:
            ids.copy_(torch.randint(len(self.tokenizer), ids.shape))


class ReplacedTokens(nn.Module):
    """A generator fills masks, and a discriminator says which tokens are not what stood there (arXiv 2003.10555).

    The two share their embeddings.
    """

    def __init__(self, generator: Any, discriminator: Any, tokenizer: Any) -> None:
        super().__init__()
        self.generator, self.discriminator, self.tokenizer = generator, discriminator, tokenizer
        self.closed = torch.tensor(tokenizer.convert_tokens_to_ids(sorted(CLOSED)))
        for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
            setattr(discriminator.electra.embeddings, name, getattr(generator.electra.embeddings, name))

    def forward(self, examples: list[Example], rng: Random) -> torch.Tensor:
        batch, corrupted, chosen, logits = self.corrupt([example["text"] for example in examples])
        ids, mask = batch["input_ids"], batch["attention_mask"]
        generated = functional.cross_entropy(logits, ids[chosen])
        told = self.discriminator(**{**batch, "input_ids": corrupted}).logits
        replaced = (corrupted != ids).float()
        detected = functional.binary_cross_entropy_with_logits(told[mask == 1], replaced[mask == 1])
        return generated + _DISCRIMINATOR * detected

    def corrupt(self, texts: list[str]) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The batch, its ids with some of them drawn by the generator, which ones it drew, and its logits for those.

        `texts` have their asterisks.
        """
        batch = encode(self.tokenizer, [plain(text) for text in texts])
        ids = batch["input_ids"]
        shares = torch.isin(ids, self.closed) * _CLOSED
        for row, text in enumerate(texts):
            for number, found in enumerate(STARRED.finditer(text)):
                # Two asterisks for every word before it.
                if (place := batch.char_to_token(row, found.start() - 2 * number)) is not None:
                    shares[row, place] = _FOLLOWING
        chosen = torch.rand(ids.shape) < shares
        masked = ids.masked_fill(chosen, self.tokenizer.mask_token_id)
        hidden = self.generator.electra(**{**batch, "input_ids": masked}).last_hidden_state[chosen]
        logits = self.generator.generator_lm_head(self.generator.generator_predictions(hidden))
        # The largest after noise of Gumbel's is a draw from the softmax, also of no logits at all.
        noise = -torch.log(-torch.log(torch.rand(logits.shape).clamp(1e-9, 1 - 1e-6)))
        drawn = (logits.detach() / _TEMPERATURE + noise).argmax(dim=-1)
        return batch, ids.masked_scatter(chosen, drawn), chosen, logits
