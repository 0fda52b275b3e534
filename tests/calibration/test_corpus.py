"""What `--calibrate` reads, and what it says to what cannot be read."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from collections import Counter

import pytest

from bvx.calibration.corpus import read_sample
from bvx.calibration.texts import builtin_texts
from bvx.runtime.errors import CalibrationError


@pytest.fixture
def file(tmp_path):
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize(
    ("name", "content", "columns", "expected"),
    [
        ("a.txt", "one\n\n  two  \r\nthree", "", [("one",), ("two",), ("three",)]),
        ("a.txt", "\ufeffone\n", "", [("one",)]),
        ("a:b.txt", "one\n", "", [("one",)]),
        ("no-suffix", "one\n", "", [("one",)]),
        ("a.jsonl", '"one"\n\n{"text": "two", "pair": "three"}\n{"text": "  "}\n', "", [("one",), ("two", "three")]),
        ("a.jsonl", '{"text": "one", "pair": null}\n{"question": "q", "context": "c"}', "", [("one",), ("q", "c")]),
        ("a.jsonl", '{"text": "no", "body": "yes"}\n', ":body", [("yes",)]),
        ("a.ndjson", '{"q": "one", "c": "two"}\n', ":q,c", [("one", "two")]),
        ("a.csv", "id,text\n1,one\n2,\n3,two\n", "", [("one",), ("two",)]),
        ("a.csv", 'sentence1,sentence2\n"one, two",three\n', "", [("one, two", "three")]),
        ("a.csv", "text,body\nno,yes\n", ":body", [("yes",)]),
        ("a.csv", 'body\n"two\nlines"\n', "", [("two\nlines",)]),
        ("a.csv", "one,two,5.0\nthree,four,1.0\n", ":1,2", [("one", "two"), ("three", "four")]),
        ("a.tsv", 'text\tlabel\nthe 5" screen\t1\n', "", [('the 5" screen',)]),
    ],
)
def test_every_format_is_read(file, name, content, columns, expected) -> None:
    sample = read_sample(file(name, content) + columns)
    assert list(sample.entries) == expected
    assert (sample.source, sample.lines) == (name, len(expected))


@pytest.mark.parametrize(
    ("spec", "content", "expected"),
    [
        ("-", "one\ntwo\n", [("one",), ("two",)]),
        ("-", '{"text": "one"}\n"two"\n', [("one",), ("two",)]),
        ("-:body,title", '{"body": "one", "title": "two"}', [("one", "two")]),
    ],
)
def test_standard_input_is_lines_or_json_lines(spec, content, expected) -> None:
    sample = read_sample(spec, stdin=io.BytesIO(content.encode()))
    assert (list(sample.entries), sample.source) == (expected, "stdin")


@pytest.mark.parametrize(
    ("name", "content", "columns", "said"),
    [
        ("a.txt", "", "", "has no text"),
        ("a.txt", "\n  \n", "", "has no text"),
        ("a.csv", "", "", "has no text"),
        ("a.csv", "text\n", "", "has no text"),
        ("a.txt", b"PK\x03\x04\x00\x00", "", "line 1 has a NUL byte"),
        ("a.txt", "über".encode("utf-16"), "", "is UTF-16"),
        ("a.txt", b"one\n\xfcber\n", "", r"line 2: it is not UTF-8 \(byte 1 is 0xfc\)"),
        ("a.txt", b"x" * (16 * 2**20 + 1), "", "line 1: it has more than 16,777,216 bytes"),
        ("a.txt", "one\n", ":text", "no columns to choose 'text' from"),
        ("a.json", "[]", "", "one JSON document"),
        ("a.jsonl", '"one"\n{"text": \n', "", "line 2: it is not JSON"),
        ("a.jsonl", "[" * 100_000, "", "line 1: it is not JSON"),
        ("a.jsonl", "3\n", "", "line 1: it is no object with 'text'"),
        ("a.jsonl", '"one"\n', ":body", "line 1: it is no object with 'body'"),
        ("a.jsonl", '{"body": "one"}\n', "", "it has no 'text', but 'body'"),
        ("a.jsonl", '{"text": 3}\n', "", "its 'text' is no string"),
        ("a.jsonl", '"\\ud800"\n', "", "half a surrogate pair"),
        ("a.csv", "one,two\n", "", "no column 'text'; its first row is 'one', 'two'"),
        ("a.csv", "text,label\n", ":body", "no column 'body'; its first row is 'text', 'label'"),
        ("a.csv", "id,text\n1,one\n2\n", "", "line 3: it has 1 columns; column 2 was wanted"),
        ("a.csv", "one\n", ":0", "no column 0"),
        ("a.csv", 'text\n"' + "x\n" * 100_000, "", "it is no row of a table"),
        ("a.csv", "a,b,c\n", ":a,b,c", "names 3 columns"),
        ("a.csv", "a,b,c\n", ":a,", "wanted one for the text, or two for a pair"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence(file, name, content, columns, said) -> None:
    with pytest.raises(CalibrationError, match=said) as refused:
        read_sample(file(name, content) + columns)
    assert refused.value.next_step


def test_what_is_not_there_is_refused_with_a_sentence(tmp_path) -> None:
    for spec, said in [
        (str(tmp_path / "none.txt"), "There is no file"),
        (str(tmp_path / "none.csv:text"), "There is no file .*none.csv"),
        (str(tmp_path), "is a folder"),
        ("-", "no standard input"),
    ]:
        with pytest.raises(CalibrationError, match=said):
            read_sample(spec)
    with pytest.raises(CalibrationError, match="0 samples"):
        read_sample(None, samples=0)


def test_a_sample_is_drawn_by_its_seed_and_stays_in_order(file) -> None:
    path = file("a.txt", "".join(f"{number:04}\n" for number in range(1000)))
    first, again, other = (read_sample(path, samples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again and first.entries != other.entries
    assert first.lines == 1000 and len(set(first.entries)) == 50
    assert list(first.entries) == sorted(first.entries)
    assert int(first.entries[-1][0]) > 500
    assert len(read_sample(path, samples=2000).entries) == 1000


def test_every_text_is_as_likely_to_be_drawn_as_any_other(file) -> None:
    path = file("a.txt", "".join(f"{number}\n" for number in range(20)))
    drawn = Counter(entry for seed in range(1000) for entry in read_sample(path, samples=5, seed=seed).entries)
    # 1000 draws of 5 of 20: 250 each, with a standard deviation of 13.7.
    assert len(drawn) == 20 and all(180 < count < 320 for count in drawn.values())


def test_the_digest_is_that_of_the_texts_in_order(file) -> None:
    sample = read_sample(file("a.jsonl", '"one"\n{"text": "zwei", "pair": "drü"}\n'))
    assert sample.digest == hashlib.sha256("one\0zwei\0drü\0".encode()).hexdigest()
    corpus = sample.describe(tokens=9)
    assert (corpus.source, corpus.lines, corpus.samples, corpus.tokens) == ("a.jsonl", 2, 2, 9)
    assert corpus.digest == sample.digest


def test_the_built_in_texts_say_what_they_cost() -> None:
    sample = read_sample(None)
    assert [entry[0] for entry in sample.entries] == list(builtin_texts()) and sample.source == "builtin"
    (warning,) = sample.warnings
    assert "int8 loses more accuracy" in warning and "--calibrate" in warning
    assert all(len(entry) == 2 for entry in read_sample(None, pairs=True).entries)


def test_few_texts_are_read_with_a_warning(file) -> None:
    assert "only one text" in read_sample(file("a.txt", "one\n")).warnings[0]
    assert "only 3 texts" in read_sample(file("a.txt", "one\ntwo\nthree")).warnings[0]
    assert not read_sample(file("a.txt", "one\n" * 40)).warnings
    assert not read_sample(file("a.txt", "one\n" * 40), samples=8).warnings


def test_a_huge_file_is_read_in_little_memory(file) -> None:
    text = json.dumps("many words " * 20) + "\n"
    path = file("a.jsonl", text * 40_000)
    tracemalloc.start()
    sample = read_sample(path, samples=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sample.lines == 40_000 and len(sample.entries) == 16
    assert peak < 2**20 < len(text) * 40_000


def test_of_a_book_on_one_line_the_beginning_is_kept(file) -> None:
    (entry,) = read_sample(file("a.txt", "word " * 1_000_000)).entries
    assert entry[0] == ("word " * 4000)
