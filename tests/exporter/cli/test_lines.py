"""`bvx run --jsonl` as a process of its own: what arrives is answered, and whatever ends it leaves whole lines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

BVX = [sys.executable, "-c", "import sys; from bvx.exporter.cli import main; sys.exit(main())"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("BVX_DEBUG", "NO_COLOR")}


@pytest.fixture
def command(classifier):
    return lambda *words: [*BVX, "run", str(classifier), "--jsonl", "--threads", "1", *map(str, words)]


@pytest.fixture
def start(command):
    """Starts the command with pipes all round: start(*words)."""
    started = []

    def make(*words, **options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command(*words), env=ENVIRONMENT, **pipes, **options)
        started.append(process)
        return process

    yield make
    for process in started:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            with suppress(BrokenPipeError):
                stream.close()
        process.wait()


def write(process, *lines):
    for line in lines:
        process.stdin.write(json.dumps(line).encode() + b"\n")
    process.stdin.flush()


def read(process):
    return json.loads(process.stdout.readline())


def run(command, content):
    return subprocess.run(command, input=content, capture_output=True, env=ENVIRONMENT)


def numbers(output):
    return [json.loads(line)["line"] for line in output.splitlines()]


def test_what_has_arrived_is_answered_while_the_input_pauses(start):
    process = start()
    # With a window that is never filled, only the pause can be what lets these be answered.
    write(process, "one", "two")
    assert [read(process)["line"], read(process)["line"]] == [1, 2]
    write(process, "three")
    assert read(process)["line"] == 3
    process.stdin.write(b'"no end of line')
    process.stdin.write(b' yet"')
    process.stdin.close()
    assert read(process)["line"] == 4
    assert process.wait() == 0
    assert process.stderr.read() == b""


def test_a_run_that_goes_on_after_some_lines_gives_what_one_run_gives(command, tmp_path):
    path = tmp_path / "in"
    texts = [f"text {'a ' * (number % 7)}" for number in range(50)]
    path.write_text("\n".join(["", *map(json.dumps, texts)]), encoding="utf-8")
    whole = run(command("--batch-size", 4), path.read_bytes())
    assert numbers(whole.stdout) == list(range(2, 52))
    from_file = run([*command("--batch-size", 4), "--input", str(path)], b"")
    assert from_file.stdout == whole.stdout
    rest = run(command("--batch-size", 4, "--skip", 33), path.read_bytes())
    assert numbers(rest.stdout) == list(range(34, 52))
    for first, second in zip(whole.stdout.splitlines()[32:], rest.stdout.splitlines(), strict=True):
        scores = [[label["score"] for label in json.loads(line)["answer"]] for line in (first, second)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert run(command("--skip", 51), path.read_bytes()).stdout == b""
    beyond = run(command("--skip", 52), path.read_bytes())
    assert beyond.returncode == 1
    assert b"The input has 51 lines" in beyond.stderr


def test_a_bad_line_is_told_at_the_end_or_is_the_end(command):
    content = b'"a"\n"b"\n{bad\n"c"\n{bad\n'
    skipped = run(command(), content)
    assert numbers(skipped.stdout) == [1, 2, 3, 4, 5]
    assert skipped.returncode == 1
    assert skipped.stderr.startswith(b"Error: 2 of 5 lines could not be answered. On line 3: It is not JSON")
    stopped = run(command("--on-error", "stop"), content)
    assert numbers(stopped.stdout) == [1, 2]
    assert b"error" not in stopped.stdout
    assert stopped.returncode == 1
    assert stopped.stderr.startswith(b"Error: On line 3: It is not JSON")
    (skip,) = re.findall(rb"--skip (\d+)", stopped.stderr)
    mended = run(command("--on-error", "stop", "--skip", skip.decode()), content.replace(b"{bad", b'"x"'))
    assert numbers(mended.stdout) == [3, 4, 5]


HOSTILE = [
    b"[" * 1_000_000,
    b'"' + b"a" * (16 * 2**20) + b'"',
    b'{"text": "a", "id": ' + b"9" * 5000 + b"}",
    b'{"text": "a", "id": NaN}',
    b'"\\ud800"',
    b'"\xff"',
    b'"a\x00b"',
    b'{"text": 1e999}',
]


def test_no_line_brings_down_those_around_it(command):
    lines = [line for bad in HOSTILE for line in (b'"fine\\u0000 \\u2028"', bad)]
    done = run(command(), b"\xef\xbb\xbf" + b"\r\n".join([*lines, b'"fine"']))
    answers = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.split(b"\n")[:-1]]
    assert ["error" in answer for answer in answers] == [False, True] * len(HOSTILE) + [False]
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_reader_that_leaves_ends_the_command_quietly(start):
    process = start()
    write(process, "a")
    assert read(process)["answer"]
    process.stdout.close()
    write(process, "b", "c")
    process.stdin.close()
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, b"Interrupted"), (signal.SIGTERM, 143, b"Ended")]
)
def test_a_signal_leaves_whole_lines_and_says_where_to_go_on(start, number, code, word):
    process = start()
    write(process, "a", "b")
    read(process)
    read(process)
    process.send_signal(number)
    error = process.stderr.read()
    assert error.startswith(b"Error: " + word + b" after line 2. ")
    assert b"`--skip 2`" in error
    assert error.count(b"\n") == 1
    assert process.wait() == code


def test_a_signal_while_lines_are_written_ends_after_one_of_them(command, tmp_path):
    path = tmp_path / "in"
    path.write_text('"a"\n' * 20_000, encoding="utf-8")
    words = command("--input", path)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        # Not communicate(), which passes over what readline() has read ahead.
        output, error = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    found = numbers(first + output)
    assert found == list(range(1, len(found) + 1))
    assert f"after line {found[-1]}.".encode() in error


def test_a_second_signal_does_not_wait_for_a_reader_that_has_stopped(start, tmp_path):
    path = tmp_path / "in"
    # More answers than a pipe holds, which nobody reads: the first signal waits for the end of a line.
    path.write_text((json.dumps({"text": "a", "id": "x" * 900}) + "\n") * 300, encoding="utf-8")
    process = start("--input", path)
    read(process)
    for _ in range(100):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            break
    assert process.poll() is not None


def test_a_full_disk_says_how_far_it_came(command, tmp_path):
    path = tmp_path / "in"
    path.write_text('"a"\n' * 2000, encoding="utf-8")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    words = [sys.executable, "-c", limit + BVX[2], *command("--input", path)[len(BVX) :]]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(words, stdout=out, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert done.returncode == 1
    whole = (tmp_path / "out").read_bytes().rpartition(b"\n")[0]
    assert f"Answered up to line {numbers(whole)[-1]}. Of the line after it a part" in done.stderr.decode()
    assert b"File too large" in done.stderr
    assert b"Traceback" not in done.stderr


def test_memory_does_not_grow_with_the_lines(command, tmp_path):
    def peak(lines):
        path = tmp_path / "in"
        path.write_text("".join(json.dumps("a " * (1 + number % 40)) + "\n" for number in range(lines)))
        code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
        code += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        words = [sys.executable, "-c", code, *command("--input", path)]
        return int(subprocess.run(words, capture_output=True, check=True, env=ENVIRONMENT).stdout)

    few, many = peak(1000), peak(20_000)
    assert many < few * 1.2
