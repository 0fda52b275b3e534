"""The lines of every task: held-out ones with their right answers, and as many as are wanted for calibration."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import objectives
import torch
from grammar import plain
from pretraining import ReplacedTokens
from tasks import Example, draw, tell_plain_question, tell_short_story

__all__ = ["Sets", "draw_lines", "mask_lines", "question_lines", "replace_lines"]

_HELD_OUT, _CALIBRATION = 1000, 320

Sets = tuple[list[Example], list[Example]]
"""Held out, and for calibration."""


def draw_lines(make: Callable[[Random], Example]) -> Sets:
    return _both(lambda rng, held_out: draw(make, rng, held_out=held_out))


def question_lines() -> Sets:
    """As a line of SQuAD is in data sets: {"question", "context", "answers": {"text", "answer_start"}}."""

    def make(rng: Random, held_out: bool) -> Example:
        example = draw(tell_plain_question, rng, held_out=held_out)
        answer, start = example.pop("answer"), example.pop("start")
        return {**example, "answers": {"text": [answer], "answer_start": [start]}}

    return _both(make)


def mask_lines(tokenizer: Any, make: Callable[[Random], Example]) -> Sets:
    """Texts with one mask each, in the place of a word that follows from the others: "target"."""

    def hide(rng: Random, held_out: bool) -> Example | None:
        example = draw(make, rng, held_out=held_out)
        names = [name for name in ("text", "pair") if name in example]
        chosen = objectives.hide_one([example[name] for name in names], rng, tokenizer)
        if chosen is None:
            return None
        masked, word = chosen
        return {**example, **dict(zip(names, masked, strict=True)), "target": word}

    return _both(hide)


@torch.no_grad()
def replace_lines(both: ReplacedTokens) -> Sets:
    """Texts in which the generator replaced words: "replaced" has their [start, end) in characters."""
    tokenizer = both.tokenizer

    def replace(rng: Random, held_out: bool) -> Example | None:
        batch, corrupted, _, _ = both.corrupt([draw(tell_short_story, rng, held_out=held_out)["text"]])
        written = tokenizer.decode(corrupted[0], skip_special_tokens=True)
        again = objectives.encode(tokenizer, [written])
        # What reads as other tokens than were drawn has other labels too.
        if not torch.equal(again["input_ids"], corrupted) or torch.equal(corrupted, batch["input_ids"]):
            return None
        places = (corrupted != batch["input_ids"])[0].nonzero().flatten().tolist()
        return {"text": written, "replaced": [list(again.token_to_chars(0, place)) for place in places]}

    return _both(replace)


def _both(make: Callable[[Random, bool], Example | None]) -> Sets:
    return _collect(make, True, _HELD_OUT, seed=1), _collect(make, False, _CALIBRATION, seed=2)


def _collect(make: Callable[[Random, bool], Example | None], held_out: bool, count: int, seed: int) -> list[Example]:
    """So many different examples."""
    rng = Random(seed)
    found: dict[str, Example] = {}
    while len(found) < count:
        if (example := make(rng, held_out)) is not None:
            found.setdefault(repr(example), {name: _bare(value) for name, value in example.items()})
    return list(found.values())


def _bare(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value
