"""The command line as a process of its own: pure stdout, progress, pipes, signals, and what help loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="pseudo-terminals are needed, which Windows has not")

BVX = [sys.executable, "-c", "import sys; from bvx.exporter.cli import main; sys.exit(main())"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("BVX_DEBUG", "NO_COLOR")}


def run(*words, code=BVX, **options):
    options = {"stdin": subprocess.DEVNULL, "env": ENVIRONMENT} | options
    return subprocess.run([*code, *map(str, words)], capture_output=True, **options)


@pytest.fixture(scope="session")
def bundle(exported) -> Path:
    return exported("electra", "text-classification").bundle


HEAVY = {"huggingface_hub", "numpy", "onnx", "onnx_ir", "onnxruntime", "rich", "tokenizers", "torch", "transformers"}


@pytest.mark.parametrize("command", ["export", "verify", "run", "build", "inspect", "doctor"])
def test_help_loads_nothing_heavy(command):
    code = "import sys; from bvx.exporter.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = run(command, "--help", code=[sys.executable, "-c", code])
    loaded = set(done.stderr.decode().split())
    assert "bvx.exporter.cli" in loaded
    assert not HEAVY & loaded


NOISE = """
import ctypes, os, sys, warnings
from bvx.exporter import cli, doctor
examine = doctor.examine
def noisy():
    print("NOISE from Python")
    os.write(1, b"NOISE from a descriptor\\n")
    ctypes.CDLL(None).printf(b"NOISE from C\\n")
    warnings.warn("NOISE from a warning")
    return examine()
doctor.examine = noisy
sys.exit(cli.main())
"""


def test_with_json_stdout_holds_one_document_whatever_libraries_print():
    done = run("doctor", "--json", code=[sys.executable, "-c", NOISE])
    assert json.loads(done.stdout)["bvx"]
    assert done.stdout.count(b"\n") == 1
    assert done.stderr.count(b"NOISE") >= 4


def test_json_is_utf_8_and_valid_whatever_the_locale_and_the_names(bundle):
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = run("run", bundle, "漢字 é", "--json", env=environment)
    assert json.loads(done.stdout.decode("utf-8"))["answers"][0]["text"] == "漢字 é"
    assert run("run", bundle, "漢字 é", env=environment).returncode == 0
    strange = subprocess.run([*map(os.fsencode, BVX), b"inspect", b"\xff", b"--json"], capture_output=True)
    assert strange.returncode == 1
    assert "error" in json.loads(strange.stdout)


def test_an_unreadable_command_line_gives_one_document_too():
    done = run("export", "--json", "--nonsense")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["exit_code"] == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("words", [["doctor"], ["doctor", "--json"], ["--version"]], ids=" ".join)
def test_a_full_disk_under_stdout_is_a_sentence(words):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run([*BVX, *words], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


STAGES = """
import sys, time, types
from bvx.exporter import cli
def export(plan, progress, stdin):
    for name in ("capture", "passes"):
        progress.stage(name, 2)
        for detail in ("a [bold] one", "another"):
            progress.advance(detail=detail)
            time.sleep(0.2)
    progress.warn("careful [MASK]")
    return types.SimpleNamespace(path=plan.model)
sys.modules["bvx.exporter.pipeline"] = types.SimpleNamespace(export=export)
sys.exit(cli.main())
"""
"""An export that goes through its stages and hands back what is there already."""


@pytest.mark.parametrize("colours", [True, False])
def test_progress_is_drawn_on_a_terminal_and_stdout_stays_pure(bundle, tmp_path, colours):
    environment = {**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "100"} | ({} if colours else {"NO_COLOR": "1"})
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", STAGES, "export", str(bundle), "--out", str(tmp_path / "out"), "--json"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        drawn = b"".join(iter(lambda: read_terminal(ours), b""))
        document = json.loads(process.stdout.read())
    os.close(ours)
    assert process.returncode == 0
    assert document["warnings"] == ["careful [MASK]"]
    for words in (b"capture: a [bold] one", b"passes: another", b"Warning: careful [MASK]"):
        assert words in drawn
    assert (b"\x1b[38;" in drawn) is colours


def read_terminal(descriptor) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        # Linux says so when the last writer has gone.
        return b""


@pytest.mark.parametrize("changes", [{"TERM": "dumb"}, None], ids=["a dumb terminal", "no terminal"])
def test_elsewhere_a_stage_is_a_line_without_colours_or_moves_of_the_cursor(bundle, tmp_path, changes):
    words = [sys.executable, "-c", STAGES, "export", str(bundle), "--out", str(tmp_path / "out")]
    if changes is None:
        drawn = subprocess.run(words, capture_output=True, env=ENVIRONMENT, check=True).stderr
    else:
        drawn = on_a_terminal(words, ENVIRONMENT | changes)
    assert b"\x1b" not in drawn
    assert [line for line in drawn.decode().splitlines() if line][:3] == [
        "capture …",
        "passes …",
        "Warning: careful [MASK]",
    ]


@pytest.mark.parametrize("voice", ["-q", "-v"])
def test_quiet_or_verbose_no_bars_are_drawn_on_a_terminal(bundle, tmp_path, voice):
    words = [sys.executable, "-c", STAGES, "export", str(bundle), "--out", str(tmp_path / "out"), voice]
    drawn = on_a_terminal(words, {**ENVIRONMENT, "TERM": "xterm-256color"})
    assert b"\x1b" not in drawn
    assert (b"  another" in drawn) is (voice == "-v")
    assert b"Warning: careful [MASK]" in drawn


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize(
    "command",
    [["doctor"], ["inspect", "BUNDLE"], ["verify", "BUNDLE", "-q"], ["run", "BUNDLE", "How was " + "it " * 60, "a"]],
    ids=lambda words: words[0],
)
def test_an_answer_keeps_within_the_terminal(bundle, command, columns):
    words = [*BVX, *(str(bundle) if word == "BUNDLE" else word for word in command)]
    shown = on_a_terminal(words, {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": str(columns)})
    lines = shown.decode().splitlines()
    assert len(lines) > 2
    # What has no spaces (a path, a hash) is kept whole, so that it can be copied.
    assert not [line for line in lines if len(line) > columns and len(line.split()[-1]) < columns // 2]


@pytest.mark.parametrize("columns", [40, 80])
def test_the_end_of_an_export_keeps_within_the_terminal(bundle, tmp_path, columns):
    words = [sys.executable, "-c", STAGES, "export", str(bundle), "--out", str(tmp_path / "out"), "-q"]
    lines = on_a_terminal(words, {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": str(columns)}).decode().splitlines()
    table = lines[: next(number for number, line in enumerate(lines) if line.startswith("Bundle:"))]
    assert any("fp32/cpu" in line for line in table)
    assert not [line for line in table if len(line) > columns]


@pytest.mark.parametrize(("words", "said"), [([], b"There is no text."), (["--jsonl"], b"has nothing to read")])
def test_a_terminal_is_not_waited_for(bundle, words, said):
    ours, theirs = pty.openpty()
    done = run("run", bundle, *words, stdin=theirs, timeout=300)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert said in done.stderr


def on_a_terminal(words, environment) -> bytes:
    """What `words` print on a pseudo-terminal that is stdout and stderr."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        drawn = b"".join(iter(lambda: read_terminal(ours), b""))
    os.close(ours)
    assert process.returncode == 0
    return drawn


def test_what_would_command_the_terminal_is_shown_and_not_obeyed(bundle, tmp_path):
    name = "evil\x1b]0;owned\x07\x9b31m\u202e"
    copy = tmp_path / f"{name}.bvx"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "bvx.json").read_text())
    manifest["model"]["id"] = name
    manifest["head"]["labels"] = [f"{name} {number}" for number in range(len(manifest["head"]["labels"]))]
    (copy / "bvx.json").write_text(json.dumps(manifest))
    commands = (
        ["inspect", copy],
        ["verify", copy],
        ["run", copy, name],
        ["inspect", name],
        ["run", copy, name, "--json"],
    )
    for command in commands:
        done = run(*command)
        for stream in (done.stdout.decode(), done.stderr.decode()):
            assert not set(stream) & set("\x1b\x07\x9b\u202e"), command
        assert "evil" in done.stdout.decode() + done.stderr.decode() or command[0] == "verify"


def test_a_file_that_grows_too_large_is_a_sentence_and_leaves_nothing(tiny_checkpoint, tmp_path):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path / "tiny")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    code = [sys.executable, "-c", limit + BVX[2]]
    done = run("export", folder, "--out", tmp_path / "out" / "bundle", code=code)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("Error: The system says: File too large")
    assert "ulimit -f" in done.stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny"]


def test_a_hub_that_cannot_be_reached_is_a_sentence_with_the_ways_out(tmp_path):
    environment = {**ENVIRONMENT, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = run("export", "someone/no-such-model", env=environment, cwd=tmp_path)
    assert done.returncode == 1
    error = done.stderr.decode().splitlines()[-1]
    for word in ("someone/no-such-model", "http://127.0.0.1:9", "--random-weights", "folder"):
        assert word in error


def test_the_version_loads_nothing_heavy():
    code = "import sys; from bvx.exporter.cli import main; main(['--version']); print(*sys.modules, file=sys.stderr)"
    done = run(code=[sys.executable, "-c", code])
    assert b"onnxruntime" in done.stdout
    assert not HEAVY & set(done.stderr.decode().split())
