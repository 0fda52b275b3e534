"""The likeliest spans of a window, found as by trying all of them, and what several windows say together."""

import numpy as np
import pytest

from bvx.runtime.heads.spans import WindowSpans, find_spans, merge, no_answer
from bvx.runtime.tokenizer import Origin, Tokens

CLS, SEP, WORD = 2, 3, 9


def window(context, question=2, words=None):
    """[CLS] question [SEP] context [SEP], of so many tokens; each of the context's is three characters and a space."""
    texts = np.array([-1, *[0] * question, -1, *[1] * context, -1])
    ids = np.array([CLS, *[WORD] * question, SEP, *[WORD] * context, SEP])
    numbers = np.full(len(texts), -1)
    numbers[texts == 1] = range(context) if words is None else words
    numbers[texts == 0] = range(question)
    offsets = np.zeros((len(texts), 2), np.int64)
    offsets[texts == 1] = 4 * np.arange(context)[:, None] + [0, 3]
    return Tokens(ids, (texts == 1).astype(np.int64), Origin(offsets, texts, numbers))


def logits(tokens, seed, scale=3.0):
    random = np.random.default_rng(seed)
    return [random.normal(0, scale, len(tokens)).astype(np.float32) for _ in "se"]


def probabilities(values, texts):
    kept = (texts == 1) | (np.arange(len(texts)) == 0)
    powers = np.where(kept, np.exp(values.astype(np.float64)), 0)
    return powers / powers.sum()


def find(tokens, start, end, count=12, longest=15, align_to_words=False):
    return find_spans(tokens, start, end, count=count, longest=longest, align_to_words=align_to_words)


def approximately(spans):
    return [(start, end, pytest.approx(score, abs=1e-6)) for start, end, score in spans]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("count", "longest"), [(1, 15), (12, 15), (5, 1), (40, 3), (1000, 100)])
def test_the_spans_are_those_found_by_trying_all(seed, count, longest):
    tokens = window(context=1 + seed, question=seed % 4)
    start, end = logits(tokens, seed)
    texts = tokens.origin.texts
    starting, ending = probabilities(start, texts), probabilities(end, texts)
    every = [
        (starting[i] * ending[j], i, j)
        for i in np.flatnonzero(texts == 1)
        for j in np.flatnonzero(texts == 1)
        if i <= j < i + longest
    ]
    expected = [
        (tokens.origin.offsets[i, 0], tokens.origin.offsets[j, 1], score)
        for score, i, j in sorted(every, key=lambda span: -span[0])[:count]
    ]
    found = find(tokens, start, end, count, longest)
    assert list(found.spans) == approximately(expected)
    assert found.null_score == pytest.approx(starting[0] * ending[0], abs=1e-6)
    assert found.null_logit == pytest.approx(start[0] + end[0])
    assert found.best_logit == pytest.approx(max(start[i] + end[j] for _, i, j in every), abs=1e-5)


def test_a_question_takes_no_part_however_likely():
    tokens = window(context=3, question=3)
    start, end = logits(tokens, 0)
    expected = find(tokens, start, end)
    start[1:5] = end[1:5] = start[-1] = end[-1] = 90
    assert find(tokens, start, end) == expected


def test_a_question_that_spells_the_first_token_takes_of_the_probability_and_is_no_answer():
    tokens = window(context=3, question=3)
    start, end = logits(tokens, 0)
    tokens.ids[2] = CLS
    start[2], end[2] = start[0], end[0]
    found, without = find(tokens, start, end), find(window(context=3, question=3), start, end)
    assert [span[:2] for span in found.spans] == [span[:2] for span in without.spans]
    assert 0 < found.null_score < without.null_score


def test_equal_spans_come_in_the_order_of_the_text():
    tokens = window(context=4)
    same = np.zeros(len(tokens), np.float32)
    score = pytest.approx(1 / 25)
    assert list(find(tokens, same, same, count=5).spans) == [
        (0, 3, score), (0, 7, score), (0, 11, score), (0, 15, score), (4, 7, score),
    ]  # fmt: skip


def test_probabilities_too_small_for_a_float_are_0_and_still_spans():
    tokens = window(context=3)
    start, end = logits(tokens, 0)
    start[0] = end[0] = 400
    found = find(tokens, start, end)
    assert found.null_score == 1
    assert list(found.spans) == [(i, j, 0.0) for i in (0, 4, 8) for j in (3, 7, 11) if i < j]


def test_logits_that_are_no_numbers_give_scores_that_are_none():
    tokens = window(context=3)
    nothing = np.full(len(tokens), np.nan, np.float32)
    assert len(find(tokens, nothing, nothing).spans) == 6
    assert all(np.isnan(score) for _, _, score in find(tokens, nothing, nothing, count=2).spans)


def test_words_are_given_whole():
    tokens = window(context=6, words=[0, 0, 1, 1, 1, 2])
    start, end = np.full((2, len(tokens)), -5, np.float32)
    start[4 + 1], end[4 + 3] = 9, 9
    assert find(tokens, start, end, count=1).spans[0][:2] == (4, 15)
    assert find(tokens, start, end, count=1, align_to_words=True).spans[0][:2] == (0, 19)


@pytest.mark.parametrize("lost", [0, 1, 4, 5])
def test_a_span_stays_as_it_is_where_either_end_is_in_no_word(lost):
    words = np.array([0, 0, 1, 1, 2, 2])
    words[lost] = -1
    tokens = window(context=6, words=words)
    start, end = np.full((2, len(tokens)), -5, np.float32)
    start[4 + 1], end[4 + 4] = 9, 9
    expected = (4, 19) if lost in (1, 4) else ((4, 23) if lost == 0 else (0, 19))
    assert find(tokens, start, end, count=1, align_to_words=True).spans[0][:2] == expected


def test_a_question_with_the_same_word_numbers_does_not_widen_a_span():
    tokens = window(context=3, question=3)
    start, end = np.full((2, len(tokens)), -5, np.float32)
    start[5 + 1], end[5 + 1] = 9, 9
    assert find(tokens, start, end, count=1, align_to_words=True).spans[0][:2] == (4, 7)


def test_a_window_without_context_says_that_there_is_no_answer():
    tokens = window(context=0)
    start, end = logits(tokens, 0)
    found = find(tokens, start, end)
    assert (found.spans, found.null_score, found.best_logit) == ((), 1.0, -np.inf)


CONTEXT = "Berlin, BERLIN and Paris"
BERLIN, SHOUTED, PARIS = (0, 6), (8, 14), (19, 24)


def said(*spans, null=0.5):
    return WindowSpans(spans, null, 0.0, 0.0)


def test_what_reads_the_same_is_one_answer_with_the_sum_of_the_scores():
    found = merge([said((*BERLIN, 0.25), (*PARIS, 0.375)), said((*SHOUTED, 0.5), (*BERLIN, 0.5))], CONTEXT)
    assert found == [
        {"score": 1.25, "start": 0, "end": 6, "answer": "Berlin"},
        {"score": 0.375, "start": 19, "end": 24, "answer": "Paris"},
    ]


def test_it_stands_where_it_was_found_first_and_equals_stay_in_that_order():
    (found,) = merge([said((*SHOUTED, 0.125)), said((*BERLIN, 0.75))], CONTEXT)
    assert found == {"score": 0.875, "start": 8, "end": 14, "answer": "BERLIN"}
    equal = merge([said((*PARIS, 0.25)), said((*BERLIN, 0.25))], CONTEXT)
    assert [answer["answer"] for answer in equal] == ["Paris", "Berlin"]


def test_no_answer_has_the_least_of_the_windows_probabilities():
    assert no_answer([said(null=0.5), said(null=0.125), said(null=0.75)]) == {
        "score": 0.125, "start": 0, "end": 0, "answer": "",
    }  # fmt: skip
