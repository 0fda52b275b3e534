"""The documentation does what it says: snippets and commands run, messages are bvx's own, links lead somewhere.

Fences have meanings. ```python runs, each by itself. ```console is typed at a shell, after `$`. ```text is what bvx
says, whole. ```py is other tools' Python, which is only read.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import bvx
from bvx.exporter.cli import main
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.heads import find_predictor
from bvx.runtime.parity import ParityReport, ParityRow, Tolerance
from bvx.runtime.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
GUIDE = [page for page in PAGES if page.parent.name == "guide"]

BUNDLES = {
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
    "words": ("roberta", "fill-mask"),
}
"""What the bundles of the pages are made as; each is small and has random weights."""

TYPED_ELSEWHERE = ("pip", "curl", "docker")
"""Programs of the pages that are not bvx's; uvicorn is, with bvx's service."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def cases(language: str) -> list[Any]:
    """Every block of that language in the README and the guide, named by its page and number."""
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in [README, *GUIDE]
        for number, block in enumerate(blocks(page, language), start=1)
    ]


def plain(text: str) -> str:
    """The words, one space between them: the width of a column depends on what stands in it."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def shelf(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the pages find their bundles."""
    folder = tmp_path_factory.mktemp("shelf")
    for name, (family, task) in BUNDLES.items():
        shape: dict[str, Any] = {"num_hidden_layers": 1}
        if task == "text-ranking":
            shape |= {"id2label": {0: "score"}, "label2id": {"score": 0}}
        checkpoint = tiny_checkpoint(family, task, folder / "checkpoints" / name, **shape)
        export(ExportPlan(str(checkpoint), folder / f"{name}.bvx", task=task, family=family))
    (folder / "all-MiniLM-L6-v2.bvx").symlink_to("sentences.bvx")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.parametrize("snippet", cases("python"))
def test_every_snippet_runs_by_itself_and_shows_something(snippet: str, shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(snippet, encoding="utf-8")
    done = subprocess.run([sys.executable, tmp_path / "snippet.py"], cwd=shelf, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "print" not in snippet


@pytest.mark.parametrize("snippet", cases("py"))
def test_other_tools_snippets_are_python_and_have_nothing_of_bvx(snippet: str) -> None:
    assert ast.parse(snippet).body and "import bvx" not in snippet


@pytest.mark.parametrize("page", [README, DOCS / "guide" / "choose-a-task.md"], ids=lambda page: page.stem)
def test_there_is_an_example_of_every_task_with_its_class(page: Path) -> None:
    shown = {
        name: kind for kind, name in re.findall(r'bvx\.(\w+)\.load\("(.+?)\.bvx"\)', "".join(blocks(page, "python")))
    }
    assert shown == {name: find_predictor(task).__name__ for name, (_, task) in BUNDLES.items()}
    assert {task for _, task in BUNDLES.values()} == {task.name for task in TASKS}


def test_the_tasks_page_names_every_task_beside_its_class() -> None:
    page = DOCS / "guide" / "choose-a-task.md"
    text = page.read_text(encoding="utf-8")
    for task in TASKS:
        assert re.search(rf"^\| \[{task.name}\]\(.*`{find_predictor(task.name).__name__}`", text, re.MULTILINE)


@pytest.fixture(scope="module")
def commands() -> list[tuple[list[str], str]]:
    """Every command that the guide types, without its variables, and what the page shows below it."""
    found = []
    for page in GUIDE:
        for part in re.split(r"^\$ ", "".join(blocks(page, "console")), flags=re.MULTILINE)[1:]:
            line, _, shown = part.partition("\n")
            words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z]+=", word)]
            found.append((words, shown))
    return found


def test_every_command_is_one_of_bvx_or_of_a_known_program(commands) -> None:
    programs = {words[0] for words, _ in commands}
    assert {"bvx", "uvicorn"} <= programs <= {"bvx", "uvicorn", *TYPED_ELSEWHERE}


def test_every_option_of_bvx_that_a_page_names_exists(commands, monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    typed = [words for words, _ in commands if words[0] == "bvx"]
    for page in GUIDE:
        inline = re.findall(r"`(bvx [a-z].*?)`", page.read_text(encoding="utf-8"))
        typed += [shlex.split(words) for words in inline]
    for words in typed:
        assert main([words[1], "--help"]) == 0
        shown = capsys.readouterr().out
        for option in (word.split("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", shown), " ".join(words)


def test_every_option_that_a_page_names_alone_is_one_of_some_command(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("export", "verify", "run", "bench", "build", "inspect", "doctor"):
        assert main([command, "--help"]) == 0
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    measured = {DOCS / "benchmarks.md", DOCS / "cpu.md"}  # they speak of the scripts in benchmarks/
    for page in set(PAGES) - measured:
        # The first cell of a row in the page on other tools is theirs.
        text = re.sub(r"^\|[^|]*\|", "|", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for option in re.findall(r"`(--[a-z0-9-]+)", text):
            assert re.search(rf"{option}\b(?!-)", shown), f"{page.name}: {option}"


def test_commands_that_need_no_network_answer_as_the_page_shows(commands, shelf, monkeypatch, capfd) -> None:
    monkeypatch.chdir(shelf)
    monkeypatch.setenv("COLUMNS", "200")
    ran = 0
    for words, shown in commands:
        if words[0] != "bvx" or words[1] == "export" or "--against" in words:
            continue
        assert main(words[1:]) == 0, words
        printed = plain("".join(capfd.readouterr()))
        # Figures are the machine's and the model's; a line without any has to be there as it is.
        for line in shown.splitlines():
            assert re.search(r"\d", line) or plain(line) in printed, line
        ran += 1
    assert ran >= 4


def test_the_export_that_is_shown_has_the_stages_and_headings_of_one(
    commands, tiny_checkpoint, tmp_path, capfd
) -> None:
    shown = next(shown for words, shown in commands if words[:2] == ["bvx", "export"] and shown)
    checkpoint = tiny_checkpoint("bert", "feature-extraction", tmp_path / "checkpoint", num_hidden_layers=1)
    assert main(["export", str(checkpoint), "--task", "sentence-similarity", "--out", str(tmp_path / "out.bvx")]) == 0
    printed = plain("".join(capfd.readouterr()))
    for line in shown.replace("sentence-transformers/all-MiniLM-L6-v2", "checkpoint").splitlines():
        words = line.split()
        if not re.search(r"[\d/]", line):
            assert plain(line) in printed, line
        assert words[0] in printed, line


def sources() -> Iterator[ast.Module]:
    for folder in ("calibration", "exporter", "runtime"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield ast.parse(path.read_text(encoding="utf-8"))


def patterns() -> Iterator[str]:
    """A regular expression for each message in the source: what is computed may be anything."""
    for module in sources():
        constants = {
            node.targets[0].id: node.value
            for node in module.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                name = node.func.id
                if name == "SystemExit" or isinstance(getattr(bvx, name, None), type) or name == "Unexpected":
                    parts = [pattern(part, constants) for part in node.args]
                    if len(re.sub(r"\.\+|\\", "", "".join(parts))) > 12:
                        yield " ".join(parts)


def pattern(node: ast.AST, constants: dict[str, ast.expr]) -> str:
    if isinstance(node, ast.Constant):
        return re.escape(str(node.value))
    if isinstance(node, ast.JoinedStr):
        return "".join(pattern(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return pattern(node.value, constants) if isinstance(node.value, ast.Name) else ".+"
    if isinstance(node, ast.IfExp):
        return f"(?:{pattern(node.body, constants)}|{pattern(node.orelse, constants)})"
    if isinstance(node, ast.Name) and isinstance(constants.get(node.id), (ast.Constant, ast.JoinedStr)):
        return pattern(constants[node.id], {})
    return ".+"


def test_every_message_that_a_page_quotes_is_one_of_bvx() -> None:
    known = [re.compile(text, re.DOTALL) for text in patterns()]
    quoted = [block.strip() for page in GUIDE for block in blocks(page, "text")]
    assert len(quoted) > 20
    for message in quoted:
        assert any(one.fullmatch(message) for one in known), message


def test_the_message_of_failed_parity_is_as_quoted() -> None:
    text = (DOCS / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
    allowed = Tolerance(1e-4, 1e-5, 0.999999, 1.0)
    numbers = {"scale": 1.0, "max_abs": 3.1e-3, "mean_abs": 4e-4, "cosine": 0.9999721, "argmax": 1.0}
    worst = ParityRow("longest", "logits", 1, 512, tolerance=allowed, passed=False, against="pytorch", **numbers)
    rows = [worst, worst, *[ParityRow("text", "logits", 1, 8, 1.0, 0.0, 0.0, 1.0, 1.0, allowed, True)] * 31]
    report = ParityReport("fp32/cpu", "onnxruntime 1.32.0", tuple(rows), {})
    assert f"{report.summary()} Nothing was written." in text


def slugs(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_relative_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#\s]*)(#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), f"{target}#{anchor}"


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {
        line for block in blocks(DOCS / "index.md", "{toctree}") for line in block.splitlines() if line[:1] != ":"
    }
    assert listed == {page.relative_to(DOCS).with_suffix("").as_posix() for page in PAGES} - {"index"}


def test_the_reference_has_every_public_name_and_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))
    from command_help import commands, help_text

    python = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    missing = [name for name in bvx.__all__ if name != "__version__" and f":: bvx.{name}\n" not in python]
    assert not missing
    shown = re.findall(
        r"```\{command-help\} (\w+)", (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    )
    assert shown == commands()
    assert all(f"Usage: bvx {command} " in help_text(command) for command in commands())


@contextmanager
def serving(shelf: Path) -> Iterator[Callable[[str, Any], tuple[int, Any]]]:
    """The example's service on a free port; asks it, and gives status and answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--app-dir", "examples", "--port", str(port), "service:app"]
    environment = {**os.environ, "BUNDLE": "all-MiniLM-L6-v2.bvx"}
    process = subprocess.Popen(command, cwd=shelf, env=environment, stderr=subprocess.PIPE, text=True)

    def ask(path: str, content: Any = None) -> tuple[int, Any]:
        body = None if content is None else json.dumps(content).encode()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    try:
        for _ in range(200):
            assert process.poll() is None, process.communicate()[1]
            try:
                ask("/health")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_the_service_answers_and_says_what_is_wrong_with_a_text(shelf: Path) -> None:
    with serving(shelf) as ask:
        status, health = ask("/health")
        assert status == 200 and health["verified"] is True and health["variant"] == "fp32/cpu"
        status, found = ask("/embed", {"texts": ["one", "two"]})
        assert status == 200
        with bvx.SentenceEmbedder.load(shelf / "sentences.bvx") as model:
            assert found["embeddings"] == [one.tolist() for one in model(["one", "two"])]
        status, refused = ask("/embed", {"texts": ["word " * 600]})
        assert status == 422 and "tokens long" in refused["error"] and refused["next_step"]
        assert ask("/embed", ["one"])[0] == 400
        assert ask("/embed", {"texts": "one"})[0] == 400
