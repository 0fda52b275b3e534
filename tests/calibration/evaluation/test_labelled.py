"""Labelled files of every kind, and what is said of those that cannot be read."""

from __future__ import annotations

import json

import pytest

from bvx.calibration.evaluation.examples import Example
from bvx.calibration.evaluation.labelled import read_labelled
from bvx.runtime.errors import CalibrationError

LABELS = {"labels": ["no", "yes"]}
MASK = {"mask_token": "[MASK]"}
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "paragraphs": [
                {
                    "context": "In 1066.",
                    "qas": [
                        {"question": "When?", "answers": [{"text": "1066", "answer_start": 3}], "is_impossible": False},
                        {"question": "Who?", "answers": [], "is_impossible": True},
                    ],
                }
            ]
        }
    ],
}


@pytest.fixture
def file(tmp_path):
    def write(name: str, content) -> str:
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(json.dumps(line) + "\n" for line in content)
        path.write_text(content)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("task", "head", "name", "content", "columns", "expected"),
    [
        (
            "text-classification",
            LABELS,
            "a.csv",
            "text,label\none,yes\ntwo,0\n",
            "",
            [("one", None, "yes"), ("two", None, "no")],
        ),
        (
            "text-classification",
            LABELS,
            "a.tsv",
            "id\tsentence1\tsentence2\tlabel\n1\ta\tb\t1\n2\tc\td\tno\n",
            "",
            [("a", "b", "yes"), ("c", "d", "no")],
        ),
        (
            "text-classification",
            LABELS,
            "a.csv",
            "body,class\none,yes\ntwo,no\n",
            ":body,class",
            [("one", None, "yes"), ("two", None, "no")],
        ),
        (
            "text-classification",
            {**LABELS, "problem_type": "multi_label_classification"},
            "a.jsonl",
            [{"text": "one", "labels": ["yes", 0]}, {"text": "two", "labels": []}],
            "",
            [("one", None, frozenset({"yes", "no"})), ("two", None, frozenset())],
        ),
        (
            "text-classification",
            {"labels": ["score"]},
            "a.jsonl",
            [{"text": "one", "score": 1}, {"text": "two", "label": 0.5}],
            "",
            [("one", None, 1.0), ("two", None, 0.5)],
        ),
        (
            "sentence-similarity",
            {},
            "a.csv",
            "one,two,5.0\nthree,four,1\n",
            ":1,2,3",
            [("one", "two", 5.0), ("three", "four", 1.0)],
        ),
        (
            "text-ranking",
            {},
            "a.jsonl",
            [{"query": "q", "document": "d", "score": 1}, {"query": "q", "document": "e", "score": 0}],
            "",
            [("q", "d", 1.0), ("q", "e", 0.0)],
        ),
        (
            "next-sentence-prediction",
            {},
            "a.jsonl",
            [{"text": "a", "pair": "b", "label": "not_next"}, {"text": "a", "pair": "b", "label": 0}],
            "",
            [("a", "b", "not_next"), ("a", "b", "next")],
        ),
        (
            "multiple-choice",
            {},
            "a.jsonl",
            [{"prompt": "p", "choices": ["a", "b"], "label": 1}] * 2,
            "",
            [("p", ("a", "b"), 1)] * 2,
        ),
        (
            "question-answering",
            {},
            "a.json",
            json.dumps(SQUAD),
            "",
            [("When?", "In 1066.", ("1066",)), ("Who?", "In 1066.", ())],
        ),
        (
            "question-answering",
            {},
            "a.jsonl",
            [
                {"question": "q", "context": "c", "answers": {"text": ["a", "b"], "answer_start": [0, 1]}},
                {"question": "q", "context": "c", "answer": "a"},
                {"question": "q", "context": "c"},
            ],
            "",
            [("q", "c", ("a", "b")), ("q", "c", ("a",)), ("q", "c", ())],
        ),
        (
            "fill-mask",
            MASK,
            "a.jsonl",
            [{"text": "a [MASK] c", "target": "b"}, {"text": "[MASK] [MASK]", "target": ["a", "b"]}],
            "",
            [("a [MASK] c", None, ("b",)), ("[MASK] [MASK]", None, ("a", "b"))],
        ),
        (
            "replaced-token-detection",
            {},
            "a.jsonl",
            [{"text": "one two", "replaced": [[0, 3]]}, {"text": "one", "replaced": []}],
            "",
            [("one two", None, frozenset({(0, 3)})), ("one", None, frozenset())],
        ),
        (
            "token-classification",
            {},
            "a.jsonl",
            [{"text": "Ann ran", "entities": [{"start": 0, "end": 3, "label": "PER"}]}, {"text": "x", "entities": []}],
            "",
            [("Ann ran", None, frozenset({(0, 3, "PER")})), ("x", None, frozenset())],
        ),
        (
            "pretraining-heads",
            {**MASK, "pair_output": "sop_logits"},
            "a.jsonl",
            [
                {"text": "a [MASK]", "pair": "c", "target": "b", "label": "swapped"},
                {"text": "a", "pair": "[MASK]", "target": "b", "label": "swapped"},
            ],
            "",
            [("a [MASK]", "c", (("b",), "swapped")), ("a", "[MASK]", (("b",), "swapped"))],
        ),
    ],
)
def test_every_task_has_its_labelled_files(file, task, head, name, content, columns, expected) -> None:
    data = read_labelled(file(name, content) + columns, task, head)
    assert list(data.examples) == [Example(*one) for one in expected]
    assert data.source == name and data.task == task and len(data.digest) == 64


@pytest.mark.parametrize(
    ("task", "name", "content", "columns", "said"),
    [
        ("feature-extraction", "a.csv", "text,label\n", "", "No labelled data can judge feature-extraction"),
        ("text-classification", "a.txt", "one\n", "", "neither .csv, .tsv, .jsonl nor .json"),
        ("text-classification", "a.csv", "", "", "has no examples"),
        ("text-classification", "a.csv", "text,label\none,yes\n", "", "has 1 example to judge on"),
        (
            "text-classification",
            "a.csv",
            "text,label\none,maybe\n",
            "",
            "line 2: its label 'maybe' is .*: no, yes",
        ),
        ("text-classification", "a.csv", "text,label\none,2\n", "", "its label '2' is none of the model's"),
        ("text-classification", "a.csv", "text,label\n,yes\n", "", "its 'text' is no text"),
        ("text-classification", "a.csv", "text,label\none\n", "", "it has 1 columns; 2 were wanted"),
        ("text-classification", "a.csv", "a,b\none,yes\n", "", "it has no 'text', but 'a', 'b'"),
        ("text-classification", "a.csv", "text,class\none,yes\n", "", "it has no 'label'"),
        ("text-classification", "a.csv", "text,label\none,yes\n", ":text,class", "no column 'class'; its first row"),
        ("text-classification", "a.csv", "one,yes\n", ":0,1", "no column 0"),
        ("text-classification", "a.csv", "one,yes\n", ":text", "names 1 columns; wanted text and pair and label"),
        ("text-classification", "a.jsonl", '"one"\n', "", "line 1: it is no object"),
        ("text-classification", "a.jsonl", "{", "", "line 1: it is not JSON"),
        ("text-classification", "a.jsonl", '{"text": "one", "label": true}\n', "", "its label True is none"),
        ("sentence-similarity", "a.csv", "sentence1,score\na,1\n", "", "it has no 'sentence2'"),
        ("sentence-similarity", "a.csv", "a,b,c\n", ":1,2,3", "its score 'c' is no number"),
        ("sentence-similarity", "a.jsonl", '{"text": "a", "pair": "b", "score": true}\n', "", "is no number"),
        ("sentence-similarity", "a.csv", "a,b,nan\n", ":1,2,3", "its score 'nan' is no number"),
        ("multiple-choice", "a.jsonl", '{"text": "a", "choices": ["b"], "label": 0}\n', "", "at least two texts"),
        (
            "multiple-choice",
            "a.jsonl",
            '{"text": "a", "choices": ["b", "c"], "label": 2}\n',
            "",
            "no number of a choice",
        ),
        ("question-answering", "a.json", '{"data": [{}]}', "", "is not SQuAD's JSON .*paragraphs"),
        ("question-answering", "a.json", "[", "", "is not SQuAD's JSON"),
        ("question-answering", "a.jsonl", '{"question": "q", "answers": []}\n', "", "it has no 'context'"),
        ("question-answering", "a.jsonl", '{"question": "q", "context": "c", "answers": 3}\n', "", "are no texts"),
        ("fill-mask", "a.jsonl", '{"text": "a", "target": "b"}\n', "", r"it has 0 \[MASK\] and 1 words"),
        ("fill-mask", "a.jsonl", '{"text": "[MASK]", "target": 3}\n', "", 'its "target" is no word'),
        ("replaced-token-detection", "a.jsonl", '{"text": "a", "replaced": [3]}\n', "", "are no spans"),
        ("token-classification", "a.jsonl", '{"text": "a", "entities": [{"start": 1}]}\n', "", '"entities" are none'),
    ],
)
def test_what_cannot_be_judged_on_is_refused_with_a_sentence(file, task, name, content, columns, said) -> None:
    with pytest.raises(CalibrationError, match=said) as refused:
        read_labelled(file(name, content) + columns, task, {**LABELS, **MASK})
    assert refused.value.next_step


def test_a_file_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(CalibrationError, match="There is no file"):
        read_labelled(str(tmp_path / "none.csv"), "text-classification", LABELS)


def test_the_digest_changes_with_texts_and_answers(file) -> None:
    digests = {
        read_labelled(file("a.csv", f"text,label\n{text},{label}\nb,no\n"), "text-classification", LABELS).digest
        for text in ("a", "c")
        for label in ("yes", "no")
    }
    assert len(digests) == 4
