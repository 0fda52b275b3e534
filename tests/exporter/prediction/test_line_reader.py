"""Lines as they arrive, and no more of them than may be held."""

from __future__ import annotations

import io
import os
from contextlib import suppress

import pytest

from bvx.exporter.prediction import line_reader
from bvx.exporter.prediction.line_reader import LineReader

MANY = 10**9


def contents(lines):
    return [line.content for line in lines]


@pytest.fixture
def pipe():
    """A pipe's two ends: what reads it, unbuffered, and the descriptor to write to."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        yield stream, writing
        with suppress(OSError):
            os.close(writing)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\n\nb\r\n", [b"a", b"", b"b\r"]),
        (b"\n\n", [b"", b""]),
        ("a\u2028b\x85\x0bc\n".encode(), ["a\u2028b\x85\x0bc".encode()]),
        (b"x" * 200_000 + b"\ny", [b"x" * 200_000, b"y"]),
    ],
)
def test_a_line_ends_with_a_line_feed_or_the_stream_and_is_numbered_from_one(content, lines):
    taken = LineReader(io.BytesIO(content)).take(MANY, MANY)
    assert contents(taken) == lines
    assert [line.number for line in taken] == list(range(1, len(lines) + 1))


def test_at_most_so_many_lines_are_taken_and_so_many_bytes_but_always_one():
    reader = LineReader(io.BytesIO(b"1\n22\n333\n4444\n5\n"))
    assert contents(reader.take(2, MANY)) == [b"1", b"22"]
    assert contents(reader.take(MANY, 2)) == [b"333"]
    assert contents(reader.take(MANY, 5)) == [b"4444", b"5"]
    assert reader.take(MANY, MANY) == []
    assert reader.take(MANY, MANY) == []


def test_what_has_arrived_is_given_before_more_is_waited_for(pipe):
    stream, writing = pipe
    reader = LineReader(stream)
    os.write(writing, b"one\ntwo\nthr")
    assert contents(reader.take(MANY, MANY)) == [b"one", b"two"]
    os.write(writing, b"ee\n")
    assert contents(reader.take(MANY, MANY)) == [b"three"]
    os.write(writing, b"four")
    os.close(writing)
    assert contents(reader.take(MANY, MANY)) == [b"four"]
    assert reader.take(MANY, MANY) == []


def test_of_a_file_as_many_lines_are_taken_as_may_be(tmp_path):
    # Fewer would depend on when it was read, and with them the rounding of the answers.
    path = tmp_path / "lines"
    path.write_bytes(b"line\n" * 100_000)
    with path.open("rb") as file:
        reader = LineReader(file)
        assert len(reader.take(99_999, MANY)) == 99_999
        assert [line.number for line in reader.take(MANY, MANY)] == [100_000]


def test_a_pipe_that_does_not_wait_is_waited_for(pipe):
    stream, writing = pipe
    os.set_blocking(stream.fileno(), False)
    os.write(writing, b"one\n")
    reader = LineReader(stream)
    assert contents(reader.take(MANY, MANY)) == [b"one"]
    os.close(writing)
    assert reader.take(MANY, MANY) == []


def test_of_a_line_too_long_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(line_reader, "LONGEST_LINE", 70_000)
    content = b"x" * 70_000 + b"\n" + b"y" * 70_001 + b"\nz\n" + b"w" * 300_000
    first, second, third, last = LineReader(io.BytesIO(content)).take(MANY, MANY)
    assert first.content == b"x" * 70_000
    assert third.content == b"z"
    assert second.content is last.content is None
    assert [second.number, third.number, last.number] == [2, 3, 4]


def test_lines_that_are_left_out_are_counted():
    reader = LineReader(io.BytesIO(b"1\n\n3\n4"))
    assert reader.skip(0) == 0
    assert reader.skip(2) == 2
    (line,) = reader.take(1, MANY)
    assert (line.number, line.content) == (3, b"3")
    assert reader.skip(5) == 1
