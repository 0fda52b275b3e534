"""What the shell offers, asked for as the shell asks: in a process, by the variables of Typer's bash script."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

import pytest

from bvx.exporter.families import known_architectures, known_families
from bvx.exporter.supported import PRECISIONS, TARGETS
from bvx.runtime.engines import ENGINES
from bvx.runtime.tasks import TASKS

BVX = "import sys; from bvx.exporter.cli import main; sys.exit(main())"
LOADED = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
HEAVY = {"huggingface_hub", "onnx", "onnx_ir", "onnxruntime", "rich", "tokenizers", "torch", "transformers"}


def complete(*words: str) -> tuple[list[str], set[str]]:
    """What is offered for the last of `words`, and the modules that were loaded for it."""
    environment = {
        **os.environ,
        "_BVX_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["bvx", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run([sys.executable, "-c", LOADED + BVX], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    return done.stdout.split(), set(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("",), {"export", "verify", "run", "bench", "build", "inspect", "doctor"}),
        (("ex",), {"export"}),
        (("export", "--pre"), {"--precision"}),
        (("export", "--task", ""), {task.name for task in TASKS}),
        (("export", "--task", "fill"), {"fill-mask"}),
        (("export", "x", "--family", ""), set(known_families())),
        (("export", "--precision", ""), set(PRECISIONS)),
        (("export", "--target", ""), set(TARGETS)),
        (("export", ""), set(known_architectures())),
        (("export", "alb"), {name for name in known_architectures() if name.startswith("alb")}),
        (("verify", "--precision", ""), set(PRECISIONS)),
        (("-v", "run", "x", "--precision", ""), set(PRECISIONS)),
    ],
)
def test_the_shell_is_offered_what_fits(words, offered):
    found, loaded = complete(*words)
    assert set(found) == offered
    assert not (HEAVY | {"numpy"}) & loaded


def test_engines_are_offered_without_loading_one():
    found, loaded = complete("run", "x", "--engine", "")
    assert set(found) == {"auto", *ENGINES}
    assert not HEAVY & loaded


def test_a_list_with_commas_goes_on_with_what_it_lacks():
    assert set(complete("export", "--target", "abacus,")[0]) == {f"abacus,{name}" for name in TARGETS}
    assert complete("export", "--target", "cpu,c")[0] == [
        f"cpu,{name}" for name in TARGETS if name != "cpu" and name.startswith("c")
    ]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is needed")
def test_bash_completes_with_the_script_that_is_shown(tmp_path):
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [sys.executable, "-c", BVX, "--show-completion", "bash"]
    script = subprocess.run(words, capture_output=True, text=True, env=environment, check=True).stdout
    program = tmp_path / "bvx"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(BVX)} "$@"\n')
    program.chmod(0o755)
    ask = 'COMP_WORDS=(bvx export --task fill); COMP_CWORD=3; _bvx_completion bvx; printf "%s\\n" "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", f"{script}\n{ask}"], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("fill-mask\n", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is needed")
def test_the_script_is_installed_for_bash(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [sys.executable, "-c", BVX, "--install-completion", "bash"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "bvx" in (tmp_path / ".bashrc").read_text()
    assert "_BVX_COMPLETE" in (tmp_path / ".bash_completions" / "bvx.sh").read_text()
