"""From a window's start and end logits to its likeliest spans, and from windows to answers.

The rules are those of transformers 4.57's QuestionAnsweringPipeline (pipelines/question_answering.py), the last one
that it has: `select_starts_ends`, `decode_spans` and `postprocess`. What is other is said where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..answers import AnswerSpan
from ..tokenizer import Tokens
from .scores import Floats

__all__ = ["Span", "WindowSpans", "find_spans", "merge", "no_answer"]

_OUTSIDE = -10000.0
"""The logit of what may be no part of an answer, as transformers has it: its probability is 0."""

_Places = NDArray[np.int64]

Span = tuple[int, int, float]
"""The characters of the context from and up to which it goes, and its score."""


@dataclass(frozen=True)
class WindowSpans:
    """What one window says. `spans` are its likeliest, the best first; none where it holds nothing of the context.

    `null_score` is the probability that there is no answer. The logits are sums of a start's and an end's: of no
    answer, and of the span where the sum is the largest, whether or not it is among `spans`.
    """

    spans: tuple[Span, ...]
    null_score: float
    null_logit: float
    best_logit: float


def find_spans(
    tokens: Tokens, start: Floats, end: Floats, *, count: int, longest: int, align_to_words: bool
) -> WindowSpans:
    """The `count` likeliest spans of at most `longest` tokens in a window over a context, the second of its texts.

    `start` and `end` are float32 logits [tokens]. A span's score is the probability of its start times that of its
    end. Both are taken over the context and the first token, BERT's [CLS], which stands for "no answer"
    (Devlin et al. 2019, section 4.3). Of equal spans the one that starts first is the better, then the shorter one.

    transformers also fills up `count` with what is no span (an end before its start, tokens of no text) and scores
    it 0; here only spans are found, however few.
    """
    assert tokens.origin is not None
    inside = np.flatnonzero(tokens.origin.texts == 1)
    # With every token that reads as [CLS], also where a question spells it, as transformers' p_mask has it.
    kept = (tokens.origin.texts == 1) | ((tokens.ids == tokens.ids[0]) & (tokens.origin.texts[0] == -1))
    starting, ending = (_probabilities(logits, kept) for logits in (start, end))
    null_score, null_logit = float(starting[0] * ending[0]), float(start[0] + end[0])
    if not len(inside):
        return WindowSpans((), null_score, null_logit, -np.inf)
    firsts, lasts, scores = _best(starting[inside], ending[inside], count, longest)
    best_logit = float((start[inside, None] + _ends(end[inside], longest, -np.inf)).max())
    if align_to_words:
        firsts, lasts = _widen(firsts, lasts, tokens.origin.words[inside])
    offsets = tokens.origin.offsets[inside]
    spans = zip(offsets[firsts, 0].tolist(), offsets[lasts, 1].tolist(), scores.tolist(), strict=True)
    return WindowSpans(tuple(spans), null_score, null_logit, best_logit)


def merge(windows: Sequence[WindowSpans], context: str) -> list[AnswerSpan]:
    """One answer for each text that is in the windows' spans, the best first.

    Spans that read the same, but for upper and lower case, are one answer: their scores are added, within a window and
    over windows, so that the sum may be above 1. It stands where the first of them does.
    """
    found: dict[str, AnswerSpan] = {}
    for start, end, score in (span for window in windows for span in window.spans):
        text = context[start:end]
        answer = found.setdefault(text.lower(), {"score": 0.0, "start": start, "end": end, "answer": text})
        answer["score"] += score
    return sorted(found.values(), key=_score, reverse=True)


def no_answer(windows: Sequence[WindowSpans]) -> AnswerSpan:
    """The answer that there is none, as the window says that believes in it least."""
    return {"score": min(window.null_score for window in windows), "start": 0, "end": 0, "answer": ""}


def _score(answer: AnswerSpan) -> float:
    return answer["score"]


def _probabilities(logits: Floats, kept: NDArray[np.bool_]) -> Floats:
    masked = np.where(kept, logits, np.float32(_OUTSIDE))
    powers = np.exp(masked - masked.max())
    probabilities: Floats = powers / powers.sum()
    return probabilities


def _ends(end: Floats, longest: int, beyond: float) -> Floats:
    """For each token the values of the ends of spans that start there, [tokens, at most `longest`]."""
    width = min(longest, len(end))
    padded = np.concatenate([end, np.full(width - 1, beyond, np.float32)])
    return np.lib.stride_tricks.sliding_window_view(padded, width)


def _best(start: Floats, end: Floats, count: int, longest: int) -> tuple[_Places, _Places, Floats]:
    """The first and the last token of the `count` best spans, and their scores; the best first."""
    losses = -(start[:, None] * _ends(end, longest, 0.0))
    width = losses.shape[1]
    losses = losses.ravel()
    some = min(count, len(losses) - width * (width - 1) // 2)
    # Not "at most": scores that are no numbers, of logits that are none, are not to be lost.
    places = np.flatnonzero(~(losses > np.partition(losses, some - 1)[some - 1]))
    places = places[places // width + places % width < len(start)]
    places = places[np.argsort(losses[places], kind="stable")][:some]
    firsts = places // width
    return firsts, firsts + places % width, -losses[places]


def _widen(firsts: _Places, lasts: _Places, words: _Places) -> tuple[_Places, _Places]:
    """The spans from the beginning of their first word to the end of their last one, as far as the window holds them.

    A span stays as it is when either of its ends is in no word.
    """
    tokens = np.arange(len(words))
    begins = np.append(True, words[1:] != words[:-1])
    first_of_word = np.maximum.accumulate(np.where(begins, tokens, 0))
    last_of_word = np.append(tokens[begins][1:] - 1, len(words) - 1)[begins.cumsum() - 1]
    widens = (words[firsts] >= 0) & (words[lasts] >= 0)
    return np.where(widens, first_of_word[firsts], firsts), np.where(widens, last_of_word[lasts], lasts)
