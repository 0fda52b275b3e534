"""JSON Lines: one answer for each line, in order, whatever is wrong with others."""

from __future__ import annotations

import functools
import io
import json

import pytest

import bvx
from bvx.exporter.prediction import lines
from bvx.exporter.prediction.line_reader import LineReader
from bvx.exporter.prediction.lines import answer_lines
from bvx.exporter.prediction.predictions import Answerer
from bvx.exporter.prediction.task_call import AnswerOptions

LONG = "word " * 9999


@pytest.fixture(scope="module")
def model(exported):
    with bvx.load(exported("electra", "text-classification").bundle, threads=1) as model:
        yield model


@pytest.fixture
def answer(model):
    """Answers objects, given as Python values or as a line's text: answer(*lines, batch_size=32)."""

    def make(*given, batch_size=32, on=model):
        content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in given).encode()
        answerer = Answerer(on, AnswerOptions(batch_size=batch_size))
        return list(answer_lines(answerer, LineReader(io.BytesIO(content))))

    return make


@pytest.fixture
def asked(model, monkeypatch):
    """How many texts each question to the model had, and how many tokens each of its batches."""
    texts, shapes = [], []
    call, run = type(model).__call__, model.engine.run

    @functools.wraps(call)
    def count(self, given, *others, **options):
        texts.append(len(given))
        return call(self, given, *others, **options)

    monkeypatch.setattr(type(model), "__call__", count)
    monkeypatch.setattr(
        model.engine, "run", lambda feeds, names=None: shapes.append(feeds["input_ids"].shape) or run(feeds, names)
    )
    return texts, shapes


def test_answers_have_their_lines_number_and_id_and_keep_the_order(answer, model):
    texts = ["a a a a a", "b", "c c c", "d d"]
    found = answer(*({"text": text, "id": text[0]} for text in texts), batch_size=2)
    assert [(one["line"], one["id"]) for one in found] == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    for text, one in zip(texts, found, strict=True):
        assert [label["score"] for label in one["answer"]] == pytest.approx(
            [label["score"] for label in model(text, top_k=5)], abs=1e-5
        )


def test_texts_and_pairs_stand_in_one_stream(answer, model):
    single, pair, again = answer({"text": "a"}, {"text": "a", "pair": "b"}, '"a"')
    assert single["answer"] == again["answer"] != pair["answer"]
    assert pair["answer"][0]["score"] == pytest.approx(model("a", "b")["score"], abs=1e-5)


def test_a_bad_line_fails_alone_under_its_number(answer):
    found = answer({"text": "a"}, "", "{bad", {"text": LONG, "id": 9}, {"text": "\ud800"}, {"text": "b"})
    assert [one["line"] for one in found] == [1, 3, 4, 5, 6]
    assert [sorted({"answer", "error"} & one.keys()) for one in found] == [
        ["answer"],
        ["error"],
        ["error"],
        ["error"],
        ["answer"],
    ]
    assert found[2]["id"] == 9
    assert "--truncate" in found[2]["error"]["next_step"]
    assert "surrogate" in found[3]["error"]["cause"]


def test_one_bad_text_does_not_make_every_other_run_alone(answer, asked):
    texts, shapes = asked
    answer(*([{"text": "a b c"}] * 31), {"text": LONG}, batch_size=8)
    # Half of what is left at each step: 16 + 8 + 4 + 2 + 1 texts run, the last one not.
    assert len(shapes) == 2 + 1 + 1 + 1 + 1
    assert len(texts) < 15


def test_lines_of_like_length_run_together(answer, asked):
    _, shapes = asked
    answer(*({"text": "a " * (1 if number % 2 else 20)} for number in range(16)), batch_size=8)
    (first, long), (second, short) = shapes
    assert first == second == 8
    assert short < long / 3


def test_a_window_is_bounded_in_lines_and_in_bytes(answer, asked, monkeypatch):
    texts, _ = asked
    answer(*([{"text": "a"}] * 40), batch_size=2)
    assert max(texts) == 16
    texts.clear()
    monkeypatch.setattr(lines, "_MOST_BYTES", 100)
    answer(*([{"text": "a " * 20}] * 10), batch_size=32)
    assert max(texts) == 1 < len(texts)


def test_of_token_vectors_only_one_batch_is_held(exported, answer, monkeypatch):
    with bvx.load(exported("bert", "feature-extraction").bundle, threads=1) as features:
        seen = []
        call = type(features).__call__

        @functools.wraps(call)
        def count(self, given, **options):
            seen.append(len(given))
            return call(self, given, **options)

        monkeypatch.setattr(type(features), "__call__", count)
        found = answer(*([{"text": "a b"}] * 5), batch_size=2, on=features)
    assert max(seen) == 2
    assert all(isinstance(value, float) for row in found[0]["answer"] for value in row)


def test_lines_are_answered_as_they_are_asked_for(model):
    taken = []

    class Source(io.BytesIO):
        def read(self, size=-1):
            taken.append(size)
            return super().read(10)

    source = Source(b'"one"\n"two"\n"three"\n')
    answers = answer_lines(Answerer(model, AnswerOptions(batch_size=1)), LineReader(source))
    assert next(answers)["line"] == 1
    assert len(taken) <= 5
