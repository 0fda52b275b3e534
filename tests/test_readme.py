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
from bvx.runtime.tasks import TASKS

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/bundle.md", "docs/families.md", "docs/cpu.md", "docs/benchmarks.md")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language; "" are those that name none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [content for name, content in fenced if name == language]


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def commands(readme: str) -> list[list[str]]:
    lines = "".join(blocks(readme, "")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def test_every_command_of_make_is_a_target(readme, root) -> None:
    targets = re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    used = [words[1] for words in commands(readme) if words[0] == "make"]
    assert used
    assert set(used) <= set(targets)


def test_every_command_and_option_of_bvx_exists(readme) -> None:
    used = [words for words in commands(readme) if words[0] == "bvx"]
    assert {words[1] for words in used} == {"bench", "build", "doctor", "export", "inspect", "run", "verify"}
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


def test_the_table_says_which_family_has_which_task(readme) -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in readme.splitlines() if line[:1] == "|"]
    start = next(index for index, row in enumerate(rows) if "albert" in row)
    families = rows[start][1:]
    assert families == list(known_families())
    table = {row[0]: row[1:] for row in rows[start + 2 :][: len(TASKS)]}
    assert list(table) == [task.name for task in TASKS]
    for task in TASKS:
        for name, cell in zip(families, table[task.name], strict=True):
            has = not task.objective or task.name in known_families()[name].objectives
            assert bool(cell) == has, (task.name, name)


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
