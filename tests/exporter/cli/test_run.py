"""`bvx run`: texts in, answers out."""

from __future__ import annotations

import json

import pytest


def test_a_classifier_shows_its_labels_and_scores(bvx, classifier):
    done = bvx("run", classifier, "one", "")
    assert done.code == 0
    assert "1. one" in done.out
    assert "2. (empty text)" in done.out
    assert "LABEL_0" in done.out
    assert "LABEL_1" in done.out
    best = bvx("run", classifier, "one", "--top-k", "1", "--json").document["answers"][0]["answer"]
    assert set(best) == {"label", "score"}


def test_texts_are_paired_and_the_counts_must_agree(bvx, classifier):
    answered = bvx("run", classifier, "one", "--pair", "two", "--json").document["answers"][0]
    assert answered["pair"] == "two"
    assert answered["answer"] != bvx("run", classifier, "one", "--json").document["answers"][0]["answer"]
    assert bvx("run", classifier, "one", "--pair", "two", "--pair", "three").code == 1


def test_lines_of_standard_input_are_texts(bvx, classifier):
    piped = bvx("run", classifier, "--json", stdin="\ufeffone\r\n\nzwei é\n".encode()).document["answers"]
    assert [each["text"] for each in piped] == ["one", "", "zwei é"]
    refused = bvx("run", classifier, stdin=b"fine\n\xff\n")
    assert refused.code == 1
    assert "Line 2" in refused.err


def test_a_text_too_long_is_refused_until_it_may_be_cut(bvx, classifier):
    refused = bvx("run", classifier, "word " * 9999)
    assert refused.code == 1
    assert "--truncate" in refused.err
    assert bvx("run", classifier, "word " * 9999, "--truncate").code == 0


def test_embeddings_are_shown_in_short_and_given_whole_in_json(bvx, features):
    shown = bvx("run", features, "one")
    assert "norm" in shown.out
    assert "float32 [" in shown.out
    tokens = bvx("run", features, "one", "--json").document["answers"][0]["answer"]
    assert all(isinstance(value, float) for token in tokens for value in token)


def test_several_sentences_are_compared_with_each_other(bvx, exported):
    bundle = exported("bert", "sentence-similarity").bundle
    assert "Cosine similarity" in bvx("run", bundle, "one", "two").out
    cosines = bvx("run", bundle, "one", "two", "--json").document["cosines"]
    assert cosines[0][0] == pytest.approx(1)
    assert cosines[0][1] == pytest.approx(cosines[1][0])
    assert "cosines" not in bvx("run", bundle, "one", "--json").document


def test_json_lines_are_answered_in_order_and_a_bad_one_by_its_number(bvx, classifier):
    long = json.dumps({"text": "word " * 9999, "id": "long"})
    lines = ['"one"', '{"text": "one", "pair": "two", "id": 7}', "", "{bad", '{"txt": 1}', long, "3", '"one"']
    done = bvx("run", classifier, "--jsonl", stdin="\n".join(lines).encode() + b"\n\xff\n")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [each.get("line") for each in answers] == [None, None, 4, 5, 6, 7, None, 9]
    assert answers[0] == answers[6]
    assert answers[1]["id"] == 7
    assert answers[4]["id"] == "long"
    assert done.err.startswith("Error: 5 of 8 lines")
    assert "line 4" in done.err
