"""What a person reads of the answers to each task."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.exporter.answer_views import view_answers
from bvx.exporter.layout import lay_out
from bvx.exporter.prediction.predictions import Asked


def show(task, text, answer, second=None, width=None):
    return list(lay_out(view_answers(task, Asked((text,), (second,)), [answer]), width))


def label(name, score):
    return {"label": name, "score": score}


def filling(token, score=0.5):
    return {"score": score, "token": 1, "token_str": token, "sequence": f"x{token}"}


ADA = "Ada Lovelace lived in London."
ENTITIES = [
    {"entity_group": "PER", "score": 0.99, "word": "ada lovelace", "start": 0, "end": 12},
    {"entity_group": "LOC", "score": 0.9, "word": "london", "start": 22, "end": 28},
]


def test_labels_stand_beside_their_scores():
    for task in ("text-classification", "sentence-order-prediction", "next-sentence-prediction"):
        lines = show(task, "a\ntext", [label("good", 0.75), label("bad", 0.25)], "its pair")
        assert lines == ["", "1. a text | its pair", "  good  0.7500", "  bad   0.2500"]
    assert show("text-classification", "", [label("good", 1.0)])[1] == "1. (empty text)"


def test_entities_are_a_table_and_marked_in_their_text():
    assert show("token-classification", ADA, ENTITIES) == [
        "",
        "1. [Ada Lovelace: PER] lived in [London: LOC].",
        "  label  score   text          place",
        "  PER    0.9900  Ada Lovelace  0-12",
        "  LOC    0.9000  London        22-28",
    ]


def test_tokens_are_read_from_the_text_and_not_marked():
    tokens = [{"entity": "B-PER", "score": 0.9, "index": 2, "word": "##a", "start": 2, "end": 3}]
    lines = show("token-classification", ADA, tokens)
    assert lines[1] == f"1. {ADA}"
    assert lines[-1].split() == ["B-PER", "0.9000", "a", "2-3"]


def test_marks_that_overlap_are_set_once_and_a_long_text_is_cut():
    overlapping = [*ENTITIES, {"entity_group": "X", "score": 0.1, "word": "lace", "start": 8, "end": 14}]
    assert show("token-classification", ADA, overlapping)[1] == "1. [Ada Lovelace: PER] lived in [London: LOC]."
    assert len(show("token-classification", ADA * 100, ENTITIES)[1]) == 303


def test_what_finds_nothing_says_so():
    assert show("token-classification", ADA, []) == ["", f"1. {ADA}", "  (nothing found)"]
    assert show("replaced-token-detection", ADA, [])[-1] == "  (nothing found)"


def test_an_answer_stands_in_its_context_with_its_place():
    context = "x " * 30 + "Machine\nLearning is a study." + " y" * 30
    answer = {"score": 0.5, "start": 60, "end": 76, "answer": "Machine\nLearning"}
    header, row = show("question-answering", "What?", answer, context)[2:]
    assert header.split() == ["answer", "score", "place", "in", "its", "context"]
    assert "0.5000" in row
    assert "60-76" in row
    assert row.rstrip().endswith("[Machine Learning] is a study. y y y y y y y y y…")
    assert "…x x" in row.replace("… x", "…x")
    none = {"score": 0.25, "start": 0, "end": 0, "answer": ""}
    lines = show("question-answering", "What?", [answer, none], context)
    assert lines[-1].split() == ["(no", "answer)", "0.2500"]
    assert lines[1] == "1. What?"


def test_choices_and_ranks_have_their_number_in_what_was_typed():
    rows = [{"index": 1, "score": 0.75, "text": "second"}, {"index": 0, "score": 0.25, "text": "first"}]
    assert show("multiple-choice", "It rains", rows, ("first", "second"))[1:] == [
        "1. It rains",
        "  choice  score   text",
        "  2       0.7500  second",
        "  1       0.2500  first",
    ]
    assert show("text-ranking", "query", rows, ("first", "second"))[2:4] == [
        "  rank  score   document  text",
        "  1     0.7500  2         second",
    ]
    assert show("text-ranking", "query", 0.125, "document")[1:] == ["1. query | document", "  score  0.1250"]


def test_fillings_are_listed_for_each_mask():
    assert show("fill-mask", "[M]", [filling(" a")])[2] == "  a  0.5000  x a"
    several = show("fill-mask", "[M] [M]", [[filling("a")], [filling("b"), filling(" ")]])
    assert [line.split()[0] for line in several[2:]] == ["mask", "a", "mask", "b", "'"]
    both = show("pretraining-heads", "[M]", {"fillings": [[filling("a")]], "pair": [label("next", 0.9)]}, "b")
    assert [line.split()[0] for line in both[2:]] == ["mask", "a", "next"]


def test_replaced_tokens_are_marked_from_one_half_on():
    tokens = [
        {"index": 1, "score": 0.1, "word": "the", "start": 0, "end": 3},
        {"index": 2, "score": 0.9, "word": "che", "start": 4, "end": 7},
    ]
    lines = show("replaced-token-detection", "The chef ate.", tokens)
    assert lines[1] == "1. The [che]f ate."
    assert lines[2].split() == ["token", "replaced", "place"]
    assert lines[4].split() == ["che", "0.9000", "4-7"]


def test_of_embeddings_the_beginning_is_shown_and_how_they_compare():
    vector = np.ones(8, np.float32)
    lines = show("sentence-similarity", "a", vector)
    assert "float32 [8]" in lines[2] and "norm 2.8284" in lines[2] and "…" in lines[2]
    assert "float32 [3, 8]" in show("feature-extraction", "a", np.ones((3, 8), np.float32))[2]
    blocks = view_answers(
        "sentence-similarity", Asked(("a", "b"), (None, None)), [vector] * 2, [[1.0, 0.5], [0.5, 1.0]]
    )
    assert list(lay_out(blocks))[-3:] == ["      1.      2.", "  1.  1.0000  0.5000", "  2.  0.5000  1.0000"]


@pytest.mark.parametrize("width", [30, 60])
def test_everything_keeps_within_the_terminal_and_commands_it_nothing(width):
    evil = "evil \x1b]0;x \x07\x9b31m \u202e " * 5
    entity = {"entity_group": evil, "score": 0.9, "word": evil, "start": 0, "end": 9}
    span = {"score": 0.5, "start": 0, "end": 9, "answer": evil}
    cases = [
        ("text-classification", [label(evil, 0.5)], evil),
        ("token-classification", [entity], None),
        ("question-answering", span, evil),
        ("multiple-choice", [{"index": 0, "score": 1.0, "text": evil}], (evil,)),
        ("text-ranking", [{"index": 0, "score": 1.0, "text": evil}], (evil,)),
        ("fill-mask", [filling(evil)], None),
        ("replaced-token-detection", [{"index": 1, "score": 0.9, "word": evil, "start": 0, "end": 9}], None),
    ]
    for task, answer, second in cases:
        lines = show(task, evil, answer, second, width)
        text = "\n".join(lines)
        assert "evil" in text
        assert not set(text) & set("\x1b\x07\x9b\u202e"), task
        assert max(map(len, lines)) <= width, task
