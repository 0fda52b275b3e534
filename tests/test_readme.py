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
from bvx.runtime.heads import find_predictor
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


LOADED = re.compile(r'bvx\.(\w+)\.load\("(.+?)"\)')

TASKS_OF_FILES = {
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
    "sentiment": ("bert", "text-classification"),
    "words": ("bert", "fill-mask"),
}
"""What the bundles of the README's examples are made as; each is small and has random weights."""


@pytest.fixture(scope="module")
def bundles(tiny_checkpoint, tmp_path_factory) -> Path:
    """The folder in which the examples find their bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, (family, task) in TASKS_OF_FILES.items():
        shape = {"num_hidden_layers": 1}
        if task == "text-ranking":
            shape |= {"id2label": {0: "score"}, "label2id": {"score": 0}}
        checkpoint = tiny_checkpoint(family, task, folder / "checkpoints" / name, **shape)
        export(ExportPlan(str(checkpoint), folder / f"{name}.bvx", task=task, family=family))
    return folder


def run_snippet(snippet: str, folder: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", snippet], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_first_snippet_runs_as_it_is_printed(readme, bundles) -> None:
    snippet = blocks(readme, "python")[0]
    (name,) = re.findall(r'load\("(.+?)"\)', snippet)
    (bundles / name).symlink_to("sentences.bvx")
    similarity, shape = run_snippet(snippet, bundles)
    assert -1 <= float(similarity.strip("[]")) <= 1
    assert shape.startswith("(1, ")


def test_the_example_of_every_task_runs_as_it_is_printed(readme, bundles) -> None:
    snippet = blocks(readme, "python")[1]
    shown = {Path(name).stem: kind for kind, name in LOADED.findall(snippet)}
    assert shown == {name: find_predictor(task).__name__ for name, (_, task) in TASKS_OF_FILES.items()}
    assert {task for _, task in TASKS_OF_FILES.values()} == {task.name for task in TASKS}
    lines = run_snippet(snippet, bundles)
    assert len(lines) == len(TASKS) and all(lines)


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
