"""Entities from labelled tokens: what joins which, and whose label and score stay."""

import numpy as np
import pytest

from bvx.runtime.heads.entities import find_entities, label_pieces, merge_windows
from bvx.runtime.heads.pieces import Piece

LABELS = ["O", "B-A", "I-A", "B-B", "I-B", "C", "B-x-y", "x-y", "z-A"]


def make(*tokens):
    """Pieces and scores of (word, label, score); a word after another begins with "##"."""
    pieces, rows, start = [], [], 0
    for index, (word, label, score) in enumerate(tokens, start=1):
        plain = word.removeprefix("##")
        start += plain == word
        pieces.append(Piece(index, word, start, start + len(plain), plain != word))
        row = np.full(len(LABELS), (1 - score) / (len(LABELS) - 1), np.float32)
        row[LABELS.index(label)] = score
        rows.append(row)
        start += len(plain)
    return pieces, np.array(rows, np.float32).reshape(-1, len(LABELS))


def join(words):
    return " ".join(words).replace(" ##", "")


def groups(strategy, *tokens, ignored=()):
    found = find_entities(*make(*tokens), LABELS, ignored, strategy, join)
    return [(one["entity_group"], one["word"], round(one["score"], 4)) for one in found]


def test_every_token_has_its_best_label():
    pieces, scores = make(("un", "B-A", 0.75), ("##do", "C", 0.5))
    assert label_pieces(pieces, scores, LABELS, []) == [
        {"entity": "B-A", "score": 0.75, "index": 1, "word": "un", "start": 1, "end": 3},
        {"entity": "C", "score": 0.5, "index": 2, "word": "##do", "start": 3, "end": 5},
    ]


def test_labels_are_left_out_by_the_name_that_the_answer_has():
    tokens = [("un", "B-A", 0.75), ("##do", "C", 0.5), ("it", "O", 0.5)]
    assert [one["entity"] for one in label_pieces(*make(*tokens), LABELS, ["A", "C"])] == ["B-A", "O"]
    assert groups("simple", *tokens, ignored=["B-A", "C"]) == [("A", "un", 0.75), ("O", "it", 0.5)]
    assert groups("first", *tokens, ignored=["A"]) == [("O", "it", 0.5)]


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["B-A", "I-A", "I-A"], [("A", "a b c")]),
        (["I-A", "I-A", "O"], [("A", "a b"), ("O", "c")]),
        (["B-A", "B-A", "I-A"], [("A", "a"), ("A", "b c")]),
        (["I-A", "I-B", "B-B"], [("A", "a"), ("B", "b"), ("B", "c")]),
        (["C", "C", "O"], [("C", "a b"), ("O", "c")]),
        (["B-A", "O", "I-A"], [("A", "a"), ("O", "b"), ("A", "c")]),
        (["B-x-y", "O", "O"], [("x-y", "a"), ("O", "b c")]),
        (["B-x-y", "x-y", "O"], [("x-y", "a b"), ("O", "c")]),
        (["z-A", "I-A", "z-A"], [("A", "a"), ("A", "b"), ("A", "c")]),
    ],
)
def test_neighbours_of_one_label_are_one_entity(strategy, labels, expected):
    found = groups(strategy, *zip("abc", labels, [0.5, 0.75, 1.0], strict=True))
    assert [one[:2] for one in found] == expected


def test_an_entity_scores_the_mean_of_what_it_is_made_of():
    assert groups("simple", ("a", "B-A", 0.5), ("##b", "I-A", 0.75), ("c", "I-A", 1.0)) == [("A", "ab c", 0.75)]
    assert groups("first", ("a", "B-A", 0.5), ("##b", "I-A", 0.9), ("c", "I-A", 1.0)) == [("A", "ab c", 0.75)]


def test_each_strategy_has_its_own_way_with_tokens_of_one_word_that_disagree():
    word = [("a", "C", 0.65), ("##b", "I-B", 0.9), ("##c", "C", 0.51), ("d", "I-B", 0.7)]
    assert groups("simple", *word) == [("C", "a", 0.65), ("B", "##b", 0.9), ("C", "##c", 0.51), ("B", "d", 0.7)]
    assert groups("first", *word) == [("C", "abc", 0.65), ("B", "d", 0.7)]
    assert groups("max", *word) == [("B", "abc d", 0.8)]
    # C: 0.65, 0.1 / 8 and 0.51; I-B: 0.35 / 8, 0.9 and 0.49 / 8.
    assert groups("average", *word) == [("C", "abc", 0.3908), ("B", "d", 0.7)]


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_no_tokens_are_no_entities(strategy):
    assert groups(strategy) == []


def test_a_token_that_continues_nothing_begins_a_word():
    assert groups("first", ("##a", "C", 0.5), ("##b", "O", 0.5)) == [("C", "##ab", 0.5)]


def entity(start, end, score=0.5):
    return {"entity_group": "A", "score": score, "word": f"{start}-{end}", "start": start, "end": end}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([], []),
        ([(5, 8), (0, 3)], [(0, 3), (5, 8)]),
        ([(0, 3), (3, 5)], [(0, 3), (3, 5)]),
        ([(0, 5), (3, 5)], [(0, 5)]),
        ([(0, 3), (2, 9)], [(2, 9)]),
        ([(0, 3), (2, 9), (8, 10)], [(2, 9)]),
        ([(0, 3), (2, 4), (3, 6)], [(0, 3), (3, 6)]),
        ([(0, 3, 0.9), (0, 3, 0.8)], [(0, 3, 0.9)]),
        ([(0, 3, 0.8), (0, 3, 0.9)], [(0, 3, 0.9)]),
        ([(0, 3, 0.8), (1, 4, 0.9)], [(1, 4, 0.9)]),
        ([(0, 2), (2, 2), (2, 4)], [(0, 2), (2, 2), (2, 4)]),
        ([(1, 1), (2, 4)], [(1, 1), (1, 1), (2, 4)]),
    ],
)
def test_of_entities_that_overlap_the_longer_or_surer_one_stays(given, kept):
    assert merge_windows(entity(*one) for one in given) == [entity(*one) for one in kept]


def test_of_equals_the_first_stays():
    equal = [entity(0, 3) | {"entity_group": name} for name in "BAC"]
    assert merge_windows(equal) == equal[:1]
