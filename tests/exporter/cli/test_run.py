"""`bvx run`: texts in, answers out, for every task."""

from __future__ import annotations

import json

import pytest

import bvx as package

CONTEXT = "Ada Lovelace was born in London and lived there. " * 30

TASKS = {
    "answers": ("spanbert", "question-answering"),
    "choices": ("bert", "multiple-choice"),
    "entities": ("bert", "token-classification"),
    "features": ("bert", "feature-extraction"),
    "next": ("bert", "next-sentence-prediction"),
    "order": ("albert", "sentence-order-prediction"),
    "pretrained": ("bert", "pretraining-heads"),
    "ranks": ("bert", "text-ranking"),
    "replaced": ("electra", "replaced-token-detection"),
    "sentences": ("bert", "sentence-similarity"),
    "sentiment": ("electra", "text-classification"),
    "words": ("bert", "fill-mask"),
}


@pytest.fixture(scope="session")
def bundle(exported):
    """The bundle of one of TASKS."""
    return lambda name: exported(*TASKS[name]).bundle


CALLS = [
    ("answers", ["Where?", "--pair", CONTEXT], ["Where?", CONTEXT], {}),
    (
        "answers",
        ["Where?", "--pair", CONTEXT, "--top-k", 2, "--doc-stride", 4, "--max-answer-length", 3, "--impossible"],
        ["Where?", CONTEXT],
        {"top_k": 2, "doc_stride": 4, "max_answer_len": 3, "handle_impossible_answer": True},
    ),
    (
        "answers",
        ["Where?", "--pair", CONTEXT, "--no-answer-threshold", "-9"],
        ["Where?", CONTEXT],
        {"no_answer_threshold": -9.0},
    ),
    ("choices", ["It rains", "--choice", "a b", "--choice", "c"], ["It rains", ["a b", "c"]], {}),
    ("entities", ["Ada lived.", "--ignore-label", "LABEL_0"], ["Ada lived."], {"ignore_labels": ["LABEL_0"]}),
    (
        "entities",
        [CONTEXT, "--aggregation", "average", "--doc-stride", 0],
        [CONTEXT],
        {"aggregation_strategy": "average", "stride": 0},
    ),
    ("features", ["one", "--pair", "two"], ["one", "two"], {}),
    ("next", ["He woke.", "--pair", "He rose."], ["He woke.", "He rose."], {}),
    ("order", ["He woke.", "--pair", "He rose."], ["He woke.", "He rose."], {}),
    ("pretrained", ["a [MASK]", "--pair", "b", "--top-k", 2], ["a [MASK]", "b"], {"top_k": 2}),
    ("ranks", ["How?", "--pair", "So."], ["How?", "So."], {}),
    ("replaced", ["the chef", "--threshold", "0.4"], ["the chef"], {"threshold": 0.4}),
    ("sentences", ["one", "--truncate"], ["one"], {"truncate": True}),
    (
        "sentiment",
        ["one", "--pair", "two", "--top-k", 1, "--function", "none"],
        ["one", "two"],
        {"top_k": 1, "function_to_apply": "none"},
    ),
    (
        "words",
        ["a [MASK]", "--target", "the", "--target", "and", "--top-k", 1],
        ["a [MASK]"],
        {"targets": ["the", "and"], "top_k": 1},
    ),
]


@pytest.mark.parametrize(("name", "words", "given", "options"), CALLS)
def test_every_task_answers_as_its_class_does_with_the_same_options(bvx, bundle, name, words, given, options):
    with package.load(bundle(name)) as model:
        expected = model(*given, **options)
    expected = expected.tolist() if hasattr(expected, "tolist") else expected
    done = bvx("run", bundle(name), *words, "--json")
    (answered,) = done.document["answers"]
    assert done.code == 0
    assert answered["text"] == given[0]
    assert answered["answer"] == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("name", "words", "shown"),
    [
        ("answers", ["Where?", "--pair", CONTEXT], "in its context"),
        ("choices", ["It rains", "--choice", "a", "--choice", "b"], "choice  score   text"),
        ("entities", ["Ada lived.", "--aggregation", "simple"], "label    score   text"),
        ("features", ["one"], "float32 ["),
        ("next", ["He woke.", "--pair", "He rose."], "not_next"),
        ("order", ["He woke.", "--pair", "He rose."], "in_order"),
        ("pretrained", ["a [MASK]", "--pair", "b"], "not_next"),
        ("ranks", ["How?", "--pair", "So.", "--pair", "No."], "rank  score"),
        ("replaced", ["the chef"], "token  replaced"),
        ("sentences", ["one", "two"], "Cosine similarity"),
        ("sentiment", ["one", ""], "2. (empty text)"),
        ("words", ["a [MASK]"], "a"),
    ],
)
def test_every_task_is_shown_to_a_person(bvx, bundle, name, words, shown):
    done = bvx("run", bundle(name), *words)
    assert (done.code, done.err) == (0, "")
    assert shown in done.out


LINES = {
    "answers": {"question": "Where?", "context": CONTEXT},
    "choices": {"prompt": "It rains", "choices": ["a", "b"]},
    "ranks": {"query": "How?", "documents": ["So.", "No."]},
    "next": {"text": "He woke.", "pair": "He rose."},
    "order": {"text": "He woke.", "pair": "He rose."},
    "pretrained": {"text": "a [MASK]", "pair": "b"},
    "words": {"text": "a [MASK]"},
}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_answers_json_lines(bvx, bundle, name):
    line = LINES.get(name, {"text": "one"})
    done = bvx("run", bundle(name), "--jsonl", stdin=json.dumps({**line, "id": 1}).encode() + b"\n{}\n")
    answered, refused = map(json.loads, done.out.splitlines())
    assert done.code == 1
    assert (answered["line"], answered["id"]) == (1, 1)
    assert answered["answer"]
    assert refused["error"]["kind"] == "InputError"


def test_a_query_with_several_documents_gets_them_ranked(bvx, bundle):
    words = ["run", bundle("ranks"), "How?", "--pair", "So.", "--pair", "No, never.", "--pair", "a"]
    (answered,) = bvx(*words, "--top-k", 2, "--json").document["answers"]
    assert answered["documents"] == ["So.", "No, never.", "a"]
    first, second = answered["answer"]
    assert first["score"] >= second["score"]
    assert first["text"] == answered["documents"][first["index"]]


def test_a_second_text_may_be_a_file_and_stand_beside_every_text(bvx, bundle, tmp_path):
    (tmp_path / "context.txt").write_text(CONTEXT + "\n", encoding="utf-8")
    words = ["run", bundle("answers"), "Where?", "Who?", "--json"]
    from_file = bvx(*words, "--pair-file", "context.txt").document["answers"]
    assert from_file == bvx(*words, "--pair", CONTEXT).document["answers"]
    assert [each["text"] for each in from_file] == ["Where?", "Who?"]
    missing = bvx(*words, "--pair-file", "nothing.txt")
    assert missing.code == 1
    assert "nothing.txt" in missing.err


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("entities", ["a", "--target", "b"], "token-classification has no --target; it has: --aggregation,"),
        ("sentences", ["a", "--pair", "b"], "sentence-similarity has no --pair"),
        ("sentiment", ["a", "--choice", "b"], "text-classification has no --choice"),
        ("choices", ["a"], "--choice"),
        ("answers", ["a"], "--pair or --pair-file"),
        ("answers", ["a", "--pair", "b", "--truncate"], "question-answering has no --truncate"),
        ("sentiment", ["a", "--function", "poetry"], "softmax, sigmoid, none"),
        ("entities", ["a", "--doc-stride", 3], "Choose an --aggregation"),
        ("ranks", ["a", "--pair", "b", "--top-k", 2], "--top-k is for one text"),
    ],
)
def test_what_a_task_has_not_is_refused_as_a_mistake_in_the_command(bvx, bundle, name, words, said):
    done = bvx("run", bundle(name), *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_texts_are_paired_and_the_counts_must_agree(bvx, classifier):
    answered = bvx("run", classifier, "one", "--pair", "two", "--json").document["answers"][0]
    assert answered["pair"] == "two"
    assert answered["answer"] != bvx("run", classifier, "one", "--json").document["answers"][0]["answer"]
    assert bvx("run", classifier, "one", "--pair", "two", "--pair", "three").code == 1


def test_lines_of_standard_input_or_of_a_file_are_texts(bvx, classifier, tmp_path):
    content = "\ufeffone\r\n\nzwei é\n".encode()
    (tmp_path / "texts.txt").write_bytes(content)
    piped = bvx("run", classifier, "--json", stdin=content).document["answers"]
    assert [each["text"] for each in piped] == ["one", "", "zwei é"]
    assert bvx("run", classifier, "--json", "--input", "texts.txt").document["answers"] == piped
    assert "Leave out TEXT, or --input" in bvx("run", classifier, "a", "--input", "texts.txt").err
    refused = bvx("run", classifier, stdin=b"fine\n\xff\n")
    assert refused.code == 1
    assert "Line 2" in refused.err


def test_a_text_too_long_is_refused_until_it_may_be_cut(bvx, classifier):
    refused = bvx("run", classifier, "word " * 9999)
    assert refused.code == 1
    assert "--truncate" in refused.err
    assert bvx("run", classifier, "word " * 9999, "--truncate").code == 0


def test_a_target_that_is_no_token_is_warned_of_once(bvx, bundle):
    content = b'"a [MASK]"\n"b [MASK]"\n'
    words = ["run", bundle("words"), "--jsonl", "--target", "zzqq", "--batch-size", 1]
    done = bvx(*words, stdin=content)
    assert done.code == 0
    assert done.err.count("Warning: ") == done.err.count("\n") == 1
    assert "zzqq" in done.err


@pytest.mark.parametrize("words", [["one"], ["--pair", "a"], ["--pair-file", "a"], ["--choice", "a"], ["--json"]])
def test_lines_of_json_hold_everything_that_is_asked(bvx, words):
    done = bvx("run", "nothing", "--jsonl", *words)
    assert done.code == 2
    assert "Leave out TEXT" in done.err


@pytest.mark.parametrize("words", [["--skip", 1], ["--on-error", "stop"]])
def test_what_is_about_json_lines_needs_them(bvx, words):
    done = bvx("run", "nothing", "one", *words)
    assert done.code == 2
    assert "--jsonl" in done.err
