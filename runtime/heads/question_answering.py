"""question-answering: the part of a context that answers a question, as transformers 4.57's pipeline finds it.

A context of any length is read in overlapping windows, each beside the whole question; spans.py joins what they say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ..answers import AnswerSpan
from ..encoder import Encoder, Texts, as_list
from ..errors import InputError
from ..feeds import Batch
from ..manifest import TensorSpec
from ..texts import name_text
from ..tokenizer import Tokenizer, Tokens
from . import Seconds, check_rank
from .classification import BEST, check_top_k
from .spans import WindowSpans, find_spans, merge, no_answer

__all__ = ["PREDICTOR", "QuestionAnswerer", "QuestionAnsweringHead", "QuestionAnsweringOptions", "open_head"]

_LONGEST_WINDOW, _LARGEST_STRIDE = 384, 128
"""transformers' defaults, which are those of BERT's run_squad.py."""


class QuestionAnswerer(Encoder):
    """question-answering: which part of a context answers a question."""

    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        questions: str,
        contexts: str,
        *,
        max_answer_len: int = 15,
        align_to_words: bool = True,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int | None = None,
        batch_size: int = 32,
    ) -> AnswerSpan: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        questions: str,
        contexts: str,
        *,
        top_k: int,
        max_answer_len: int = 15,
        align_to_words: bool = True,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int | None = None,
        batch_size: int = 32,
    ) -> list[AnswerSpan]: ...
    @overload
    def __call__(
        self,
        questions: Iterable[str],
        contexts: str | Iterable[str],
        *,
        max_answer_len: int = 15,
        align_to_words: bool = True,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int | None = None,
        batch_size: int = 32,
    ) -> list[AnswerSpan]: ...
    @overload
    def __call__(
        self,
        questions: Iterable[str],
        contexts: str | Iterable[str],
        *,
        top_k: int,
        max_answer_len: int = 15,
        align_to_words: bool = True,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int | None = None,
        batch_size: int = 32,
    ) -> list[list[AnswerSpan]]: ...
    def __call__(
        self,
        questions: Texts,
        contexts: Texts,
        *,
        top_k: int | Literal["best"] = BEST,
        max_answer_len: int = 15,
        align_to_words: bool = True,
        handle_impossible_answer: bool = False,
        no_answer_threshold: float | None = None,
        max_seq_len: int | None = None,
        doc_stride: int | None = None,
        max_question_len: int | None = None,
        batch_size: int = 32,
    ) -> Any:
        """Per question the best answer in its context; with `top_k` the list of that many, or fewer, the best first.

        Several questions take a context each, or one context for all of them. An answer is at most `max_answer_len`
        tokens long, before `align_to_words` widens it to whole words. Its score is the probability of its start times
        that of its end, both over one window. What reads the same, but for case, counts as one answer: it has the sum
        of the scores, over windows too, which may be above 1, and stands where it was found first.

        A context is read in windows of `max_seq_len` tokens, question and special tokens included (None: 384, or what
        the model takes where that is less), of which `doc_stride` are in the window before too (None: 128, or half a
        window where that is less). At most `batch_size` windows run at once. A question is cut after
        `max_question_len` tokens; None cuts nothing, as transformers' fast tokenizers do.

        That there is no answer is the empty text, from 0 to 0, and only given where it is asked for:
        `handle_impossible_answer` lists it among the answers, with the least probability of it over the windows;
        `no_answer_threshold` puts it first where the model's first token outdoes the best answer by more than that in
        logits, and leaves it out otherwise. That is the null_score_diff_threshold of transformers' run_qa.py (Devlin
        et al. 2019, section 4.3, with the sign changed), 0 being usual: over all windows

            min(start_logits[0] + end_logits[0]) - max(start_logits[i] + end_logits[j]) > no_answer_threshold

        Raises InputError for an empty question, for a context in which there is nothing to find unless no answer is
        allowed, for a question that leaves no room in a window, and for texts or options that cannot be used.
        """
        options = QuestionAnsweringOptions(
            top_k,
            max_answer_len,
            align_to_words,
            handle_impossible_answer,
            no_answer_threshold,
            max_seq_len,
            doc_stride,
            max_question_len,
        )
        asked = as_list(questions, "questions")
        given = [contexts] * len(asked) if isinstance(contexts, str) else as_list(contexts, "contexts")
        if isinstance(questions, str) and not isinstance(contexts, str):
            raise InputError("questions is a single text, contexts is not.", "Give one context, or a list of both.")
        answers = self._answer_all(asked, given, options, truncate=False, batch_size=batch_size)
        return answers[0] if isinstance(questions, str) else answers


@dataclass(frozen=True)
class QuestionAnsweringOptions:
    """What QuestionAnswerer was asked for, under the same names. Raises InputError for what cannot be used."""

    top_k: int | Literal["best"] = BEST
    max_answer_len: int = 15
    align_to_words: bool = True
    handle_impossible_answer: bool = False
    no_answer_threshold: float | None = None
    max_seq_len: int | None = None
    doc_stride: int | None = None
    max_question_len: int | None = None

    def __post_init__(self) -> None:
        if self.top_k != BEST:
            check_top_k(self.top_k)
        for name, least in (("max_answer_len", 1), ("max_seq_len", 1), ("doc_stride", 0), ("max_question_len", 1)):
            value = getattr(self, name)
            optional = name != "max_answer_len"
            if not (optional and value is None) and (type(value) is not int or value < least):
                wanted = f"a whole number from {least} on{', or None' if optional else ''}"
                raise InputError(f"{name} is {value!r:.40}.", f"Give {wanted}.")
        threshold: Any = self.no_answer_threshold
        if threshold is None:
            return
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or math.isnan(threshold):
            raise InputError(f"no_answer_threshold is {threshold!r:.40}.", "Give a difference of logits, such as 0.0.")
        if self.handle_impossible_answer:
            raise InputError(
                "handle_impossible_answer compares probabilities, no_answer_threshold logits.", "Give one of the two."
            )

    @property
    def may_be_none(self) -> bool:
        """Whether "no answer" may be the answer."""
        return self.handle_impossible_answer or self.no_answer_threshold is not None

    @property
    def count(self) -> int:
        """How many answers are wanted."""
        return self.top_k if isinstance(self.top_k, int) else 1

    @property
    def spans_per_window(self) -> int:
        """As many as transformers looks at: some become the same when they are widened to whole words."""
        return self.count * 2 + 10 if self.align_to_words else self.count


@dataclass(frozen=True)
class QuestionAnsweringHead:
    """Start and end logits, each [batch, sequence]; an input's second part is its context."""

    outputs: tuple[str, ...] = ("start_logits", "end_logits")
    seconds: Seconds = "needed"

    def check_output(self, spec: TensorSpec) -> None:
        check_rank(spec, "batch", "sequence")

    def encode(
        self,
        tokenizer: Tokenizer,
        texts: Sequence[str],
        seconds: Sequence[str] | None,
        truncate: bool,
        options: QuestionAnsweringOptions,
    ) -> Sequence[Sequence[Tokens]]:
        assert seconds is not None
        length = min(options.max_seq_len or _LONGEST_WINDOW, tokenizer.max_length)
        stride = min(_LARGEST_STRIDE, length // 2) if options.doc_stride is None else options.doc_stride
        windows = tokenizer.encode_windows(
            texts,
            seconds,
            max_length=length,
            stride=stride,
            max_first=options.max_question_len,
            names=("question", "context"),
        )
        for number, (question, context) in enumerate(zip(texts, seconds, strict=True)):
            if not question:
                raise InputError(f"{name_text('question', number, len(texts))} is empty.", "Leave it out.")
            if not options.may_be_none and not (context.strip() and _holds_context(windows[number])):
                raise InputError(
                    f"{name_text('context', number, len(texts))} holds nothing that could be an answer.",
                    "Leave it out, or allow for no answer with handle_impossible_answer=True.",
                )
        return windows

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], batch: Batch, options: QuestionAnsweringOptions
    ) -> list[WindowSpans]:
        start, end = (outputs[name].astype(np.float32, copy=False) for name in self.outputs)
        return [
            find_spans(
                tokens,
                start[row, : len(tokens)],
                end[row, : len(tokens)],
                count=options.spans_per_window,
                longest=options.max_answer_len,
                align_to_words=options.align_to_words,
            )
            for row, tokens in enumerate(batch.tokens)
        ]

    def answer(
        self, text: str, second: str, parts: Sequence[WindowSpans], options: QuestionAnsweringOptions
    ) -> AnswerSpan | list[AnswerSpan]:
        answers = merge(parts, second)
        if options.handle_impossible_answer:
            answers = sorted([*answers, no_answer(parts)], key=lambda answer: answer["score"], reverse=True)
        elif options.no_answer_threshold is not None:
            best = max(part.best_logit for part in parts)
            if not answers or min(part.null_logit for part in parts) - best > options.no_answer_threshold:
                answers = [no_answer(parts), *answers]
        return answers[0] if options.top_k == BEST else answers[: options.count]


PREDICTOR = QuestionAnswerer


def open_head(task: str, settings: Mapping[str, Any], tokenizer: Tokenizer) -> QuestionAnsweringHead:
    """The head of question-answering, which has no settings."""
    return QuestionAnsweringHead()


def _holds_context(windows: Sequence[Tokens]) -> bool:
    return any((one.origin.texts == 1).any() for one in windows if one.origin is not None)
