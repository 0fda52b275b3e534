"""What each task reads of a line, and what is wrong with a line that cannot be read."""

from __future__ import annotations

import json

import pytest

from bvx.exporter.prediction.line_entries import EntryReader
from bvx.exporter.prediction.line_reader import LONGEST_LINE, Line
from bvx.exporter.prediction.task_call import TaskCall
from bvx.runtime.heads import find_predictor
from bvx.runtime.tasks import TASKS


def read(content, task="text-classification", number=1):
    reader = EntryReader(TaskCall.of(find_predictor(task), task))
    return reader.read(Line(number, content.encode() if isinstance(content, str) else content))


def read_object(task="text-classification", **fields):
    return read(json.dumps(fields), task)


@pytest.mark.parametrize("task", [task.name for task in TASKS])
def test_every_task_reads_what_its_own_sentence_asks_for(task):
    refused = read("{}", task).fault
    example = refused.next_step.partition("Write ")[2].partition(" on every line")[0]
    entry = read(example, task)
    assert entry.fault is None
    assert entry.text == "…"


@pytest.mark.parametrize(
    ("task", "fields", "second"),
    [
        ("text-classification", {"text": "a"}, None),
        ("text-classification", {"text": "a", "pair": "b"}, "b"),
        ("text-classification", {"text": "a", "text_pair": "b"}, "b"),
        ("text-classification", {"text": "a", "pair": None, "context": "more", "label": [1, {"x": None}]}, None),
        ("question-answering", {"question": "a", "context": "b"}, "b"),
        ("question-answering", {"text": "a", "pair": "b"}, "b"),
        ("text-ranking", {"query": "a", "document": "b"}, "b"),
        ("text-ranking", {"query": "a", "documents": ["b", "c"]}, ("b", "c")),
        ("multiple-choice", {"prompt": "a", "choices": ["b", "c"]}, ("b", "c")),
        ("token-classification", {"text": "a", "pair": None}, None),
    ],
)
def test_the_fields_are_the_tasks_own_or_text_and_pair(task, fields, second):
    entry = read_object(task, **fields)
    assert (entry.fault, entry.text, entry.second) == (None, "a", second)


def test_a_string_is_a_text():
    assert read('"a \\u00e9 \\n b"').text == "a é \n b"


@pytest.mark.parametrize("blank", ["", " ", "\t", "\r", "\ufeff"])
def test_a_blank_line_asks_nothing(blank):
    assert read(blank) is None


def test_a_byte_order_mark_stands_before_the_first_line_only():
    assert read('\ufeff"a"').text == "a"
    assert "BOM" in read('\ufeff"a"', number=2).fault.cause


@pytest.mark.parametrize("name", ["a", "é\u2028\x00", 7, 1.5, True, "x" * 1000])
def test_the_id_comes_back(name):
    assert read_object(text="a", id=name).given == {"id": name}
    assert read_object(txt="a", id=name).given == {"id": name}


def test_without_an_id_none_comes_back():
    assert read_object(text="a").given == {}
    assert read_object(text="a", id=None).given == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'"\xff"', "It is not UTF-8 (byte 2)."),
        (b'{"text": "a\x00"}', "It is not JSON (Invalid control character at, at character 12)."),
        ('"a"'.encode("utf-16-le"), "It is not JSON"),
        (None, f"It has more than {LONGEST_LINE:,} bytes."),
        ("{bad", "It is not JSON"),
        ('"a" "b"', "It is not JSON"),
        ("[" * 100_000, "It is nested too deeply."),
        ('{"text": "a", "id": ' + '{"a":' * 100_000, "It is nested too deeply."),
        ("3", "It is neither a string nor an object."),
        ('["a"]', "It is neither a string nor an object."),
        ("null", "It is neither a string nor an object."),
        ("NaN", "NaN is no number in JSON"),
        ('{"text": "a", "id": -Infinity}', "-Infinity is no number in JSON"),
        ('{"text": "a", "id": 1e999}', 'Its "id" is no string or number'),
        ('{"text": "a", "id": ' + "9" * 5000 + "}", "4300 digits"),
        ('{"text": "a", "id": [1]}', 'Its "id" is no string or number'),
        (json.dumps({"text": "a", "id": "x" * 1001}), 'Its "id" is no string or number'),
        ('{"text": "a", "text": "b"}', "the field 'text' stands there twice"),
        ('{"txt": 1, "pair": "b"}', 'It has no "text", but "txt" and "pair".'),
        ('{"text": null}', 'It has no "text"'),
        ('{"text": ["a"]}', 'Its "text" is no string.'),
        ('{"text": "a", "pair": 3}', 'Its "pair" is no string.'),
        ('{"text": "a", "pair": "b", "text_pair": "b"}', 'It has "pair" and "text_pair", of which one is read.'),
    ],
)
def test_the_fault_of_a_line_is_a_sentence_with_a_next_step(content, said):
    fault = read(content).fault if content is not None else read_too_long().fault
    assert said in fault.cause
    assert fault.next_step


def read_too_long():
    return EntryReader(TaskCall.of(find_predictor("fill-mask"), "fill-mask")).read(Line(1, None))


@pytest.mark.parametrize(
    ("task", "fields", "said"),
    [
        ("question-answering", {"question": "a"}, 'It has no "context".'),
        ("question-answering", {"question": "a", "text": "b", "context": "c"}, '"question" and "text"'),
        ("question-answering", {"question": "a", "pair": "b", "context": "c"}, '"context" and "pair"'),
        ("text-ranking", {"query": "a"}, 'It has no "document" or "documents".'),
        ("text-ranking", {"query": "a", "document": "b", "documents": ["c"]}, '"document" and "documents"'),
        ("text-ranking", {"query": "a", "documents": []}, 'Its "documents" are no list of strings.'),
        ("multiple-choice", {"prompt": "a"}, 'It has no "choices".'),
        ("multiple-choice", {"prompt": "a", "choices": "b"}, 'Its "choices" are no list of strings.'),
        ("multiple-choice", {"prompt": "a", "choices": ["b", 3]}, 'Its "choices" are no list of strings.'),
        ("multiple-choice", {"prompt": "a", "pair": "b"}, 'It has a "pair", which multiple-choice does not read.'),
        ("sentence-similarity", {"text": "a", "pair": "b"}, "which sentence-similarity does not read."),
    ],
)
def test_a_task_says_what_it_misses_and_what_it_does_not_read(task, fields, said):
    fault = read_object(task, **fields).fault
    assert said in fault.cause
    assert fault.next_step
