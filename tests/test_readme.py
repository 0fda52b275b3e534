"""The README does what it says: its snippets run, its commands exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bvx.exporter.families import known_families
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.tasks import TASKS

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/bundle.md", "docs/families.md", "docs/cpu.md", "docs/benchmarks.md")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def commands(readme: str) -> list[list[str]]:
    lines = "".join(blocks(readme, "")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_the_python_snippet_runs_as_it_is_printed(readme, tiny_checkpoint, tmp_path) -> None:
    (snippet,) = blocks(readme, "python")
    bundle = tmp_path / re.findall(r'bvx\.load\("(.+?)"\)', snippet)[0]
    checkpoint = tiny_checkpoint("bert", "feature-extraction", tmp_path / "checkpoint")
    export(ExportPlan(model=str(checkpoint), out=bundle, task="sentence-similarity"))
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    similarity, shape = done.stdout.splitlines()
    assert -1 <= float(similarity.strip("[]")) <= 1
    assert shape.startswith("(1, ")


def test_every_command_of_make_is_a_target(readme, root) -> None:
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    used = [words[1] for words in commands(readme) if words[0] == "make"]
    assert used
    assert set(used) <= set(targets)


def test_every_command_and_option_of_bvx_exists(readme) -> None:
    used = [words for words in commands(readme) if words[0] == "bvx"]
    assert {words[1] for words in used} == {"export", "verify", "run", "inspect", "doctor"}
    for words in used:
        shown = subprocess.run(
            [Path(sys.executable).parent / "bvx", words[1], "--help"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COLUMNS": "200"},
        ).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in shown, f"bvx {words[1]} {option}"


def test_the_table_names_every_family_and_every_task(readme) -> None:
    header = next(line for line in readme.splitlines() if line.startswith("| | feature-extraction"))
    assert [cell.strip() for cell in header.strip("|").split("|")][1:] == [task.name for task in TASKS]
    rows = [line.split("|")[1].strip().lower() for line in readme.splitlines() if "| yes |" in line]
    assert [row.split(",")[0] for row in rows] == list(known_families())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_to_a_file(document, root) -> None:
    text = (root / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert ((root / document).parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_figure_is_still_to_be_filled_in(document, root) -> None:
    lines = (root / document).read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if re.fullmatch(r"[A-Z]+", line)]
