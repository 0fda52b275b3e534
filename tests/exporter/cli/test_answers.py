"""SpanBERT's case: what machine learning is, asked of contexts of every kind, by every way in."""

from __future__ import annotations

import json

import pytest

QUESTION = "What is Machine Learning?"
PARAGRAPH = "Machine Learning is the study of programs that learn from data, and are tested on what they have not seen."
NUMBERS = "".join(f"In {year} there were {year * 7 % 1009} of them. " for year in range(1000, 2000))
LONG = f"{NUMBERS[:12_000]} {PARAGRAPH} {NUMBERS[12_000:]}"[:20_000]


@pytest.fixture(scope="session")
def answers(exported):
    return exported("spanbert", "question-answering").bundle


@pytest.mark.parametrize("context", [PARAGRAPH, LONG], ids=["short", "20,000 characters"])
def test_a_pair_a_file_and_a_json_line_get_the_same_answer_with_its_place(bvx, answers, tmp_path, context):
    (tmp_path / "context.txt").write_text(context, encoding="utf-8")
    words = ["run", answers, QUESTION, "--top-k", 2, "--json"]
    (asked,) = bvx(*words, "--pair", context).document["answers"]
    assert bvx(*words, "--pair-file", "context.txt").document["answers"] == [asked]
    line = json.dumps({"question": QUESTION, "context": context}).encode()
    done = bvx("run", answers, "--jsonl", "--top-k", 2, stdin=line)
    assert json.loads(done.out) == {"line": 1, "answer": asked["answer"]}
    assert len(asked["answer"]) == 2
    for answer in asked["answer"]:
        assert answer["answer"]
        assert answer["answer"] == context[answer["start"] : answer["end"]]


def test_of_a_long_context_every_part_is_read(bvx, answers):
    words = ["run", answers, QUESTION, "--top-k", 4000, "--json", "--pair"]
    (asked,) = bvx(*words, LONG).document["answers"]
    starts = [answer["start"] for answer in asked["answer"]]
    for tenth in range(10):
        assert any(tenth * 2000 <= start < (tenth + 1) * 2000 for start in starts), tenth


@pytest.mark.parametrize("context", ["", "  \n"], ids=["empty", "blank"])
def test_an_empty_context_is_refused_unless_no_answer_is_one(bvx, answers, context):
    refused = bvx("run", answers, QUESTION, "--pair", context)
    assert refused.code == 1
    assert "holds nothing that could be an answer" in refused.err
    assert "--impossible" in refused.err
    for option in (["--impossible"], ["--no-answer-threshold", 0]):
        (asked,) = bvx("run", answers, QUESTION, "--pair", context, *option, "--json").document["answers"]
        assert (asked["answer"]["answer"], asked["answer"]["start"], asked["answer"]["end"]) == ("", 0, 0)


def test_lines_without_a_context_leave_those_around_them_answered(bvx, answers):
    lines = [{"question": QUESTION, "context": context} for context in (PARAGRAPH, "", PARAGRAPH)]
    done = bvx("run", answers, "--jsonl", stdin="\n".join(map(json.dumps, lines)).encode())
    first, second, third = map(json.loads, done.out.splitlines())
    assert done.code == 1
    assert first["answer"]["answer"] == third["answer"]["answer"] != ""
    assert "--impossible" in second["error"]["next_step"]


def test_what_cannot_be_answered_is_said_where_the_threshold_says_so(bvx, answers):
    words = ["run", answers, "Who is the king of Mars?", "--pair", PARAGRAPH, "--json", "--no-answer-threshold"]
    found = [bvx(*words, threshold).document["answers"][0]["answer"]["answer"] for threshold in (-1000, 1000)]
    assert found[0] == ""
    assert found[1] in PARAGRAPH
    assert found[1]
    shown = bvx("run", answers, QUESTION, "--pair", PARAGRAPH, "--no-answer-threshold", -1000).out
    assert "(no answer)" in shown
