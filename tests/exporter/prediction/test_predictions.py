"""Texts and what stands beside them, asked of a model as the command line says."""

from __future__ import annotations

import pytest

import bvx
from bvx.exporter.prediction.predictions import (
    Answerer,
    Asked,
    compare,
    describe_answers,
    pair_up,
    read_text_file,
    read_texts,
)
from bvx.exporter.prediction.task_call import AnswerOptions
from bvx.runtime.errors import InputError, PlanError


@pytest.fixture(scope="module")
def ask(exported):
    """Makes an answerer for a task, as a `with`'s result: ask(task, **options)."""
    models = {}

    def make(task, **options):
        if task not in models:
            models[task] = bvx.load(exported("bert", task).bundle, threads=1)
        return Answerer(models[task], AnswerOptions(**options))

    yield make
    for model in models.values():
        model.close()


def test_answers_are_those_of_the_model(ask):
    answerer = ask("text-classification", top_k=1, truncate=True)
    model = answerer.model
    assert answerer.answer(["a", "b"], [None, None]) == model(["a", "b"], top_k=1)
    assert answerer.answer(["a", "b"], ["c", "d"]) == model(["a", "b"], ["c", "d"], top_k=1)
    assert answerer.answer(["word " * 9999], [None]) == model(["word " * 9999], top_k=1, truncate=True)


def test_a_query_with_one_document_is_scored_and_with_several_ranks_them(ask):
    answerer = ask("text-ranking", top_k=2)
    model = answerer.model
    assert answerer.answer(["a", "b"], ["c", "d"]) == model(["a", "b"], ["c", "d"])
    documents = ("c", "d d d", "e")
    assert answerer.answer(["a", "b"], [documents] * 2) == [model.rank(text, documents, top_k=2) for text in "ab"]


def test_options_that_cannot_be_used_are_refused_before_there_is_a_text(ask):
    with pytest.raises(PlanError, match="--function is 'poetry'") as refused:
        ask("text-classification", function="poetry")
    assert "softmax" in refused.value.next_step
    with pytest.raises(PlanError, match="text-classification has no --target"):
        ask("text-classification", target=("a",))


def test_a_text_that_cannot_be_answered_is_told_in_the_words_of_the_command_line(ask):
    with pytest.raises(InputError, match=r"Text 2 is .* --truncate"):
        ask("text-classification").answer(["a", "word " * 9999], [None, None])


@pytest.mark.parametrize(
    ("task", "texts", "pairs", "seconds"),
    [
        ("text-classification", ["a", "b"], [], (None, None)),
        ("text-classification", ["a", "b"], ["c", "d"], ("c", "d")),
        ("text-classification", ["a", "b"], ["c"], ("c", "c")),
        ("text-ranking", ["a"], ["c"], ("c",)),
        ("text-ranking", ["a"], ["c", "d"], (("c", "d"),)),
        ("text-ranking", ["a", "b"], ["c", "d"], ("c", "d")),
    ],
)
def test_a_pair_stands_beside_each_text_or_one_beside_all_or_several_are_ranked(ask, task, texts, pairs, seconds):
    assert pair_up(ask(task), texts, pairs, ()) == Asked(tuple(texts), seconds)


def test_counts_that_do_not_agree_and_a_limit_without_ranking_are_refused(ask):
    for texts, pairs in ((["a"], ["b", "c"]), (["a", "b", "c"], ["d", "e"])):
        with pytest.raises(InputError, match=f"{len(texts)} texts and 2 pairs"):
            pair_up(ask("text-classification"), texts, pairs, ())
    for texts, pairs in ((["a"], ["c"]), (["a", "b"], ["c", "d"])):
        with pytest.raises(PlanError, match="--top-k"):
            pair_up(ask("text-ranking", top_k=2), texts, pairs, ())


def test_the_document_holds_what_was_asked_and_answers_without_arrays(ask):
    answerer = ask("text-ranking")
    asked = pair_up(answerer, ["a"], ["b", "c"], ())
    (told,) = describe_answers(answerer, asked, answerer.answer(asked.texts, asked.seconds), None)["answers"]
    assert (told["text"], told["documents"]) == ("a", ["b", "c"])
    answerer = ask("sentence-similarity")
    asked = pair_up(answerer, ["a", "b"], (), ())
    answers = answerer.answer(asked.texts, asked.seconds)
    cosines = compare(answerer.model, answers)
    document = describe_answers(answerer, asked, answers, cosines)
    assert all(isinstance(value, float) for value in document["answers"][0]["answer"])
    expected = float(answerer.model.similarity("a", "b")[0, 0])
    assert document["cosines"][0][1] == pytest.approx(expected, abs=1e-5)
    assert compare(answerer.model, answers[:1]) is compare(answerer.model, answers * 11) is None


def test_texts_are_the_arguments_or_the_lines(tmp_path):
    assert read_texts(["a", ""], None) == ("a", "")
    assert read_texts((), ["\ufeffa\r\n".encode(), b"\n", "é\u2028x".encode()]) == ("a", "", "é\u2028x")
    for arguments, source in (((), None), ((), []), (None, None)):
        with pytest.raises(PlanError, match="no text"):
            read_texts(arguments, source)
    with pytest.raises(InputError, match="Line 2 is not UTF-8"):
        read_texts((), [b"a\n", b"\xff\n"])


def test_a_file_is_one_text(tmp_path):
    path = tmp_path / "context.txt"
    path.write_bytes("\ufeffone\n\ntwo é\r\n".encode())
    assert read_text_file(path) == "one\n\ntwo é"
    path.write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match=r"context\.txt is not UTF-8"):
        read_text_file(path)
    path.write_bytes(b"x" * (16 * 2**20 + 1))
    with pytest.raises(InputError, match="has more than"):
        read_text_file(path)
