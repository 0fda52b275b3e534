"""What a user's type checker sees: mypy in strict mode and pyright, on code that uses every task."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.package

USER = """
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import bvx
from bvx.runtime.answers import (
    AnswerSpan,
    Choice,
    EntityGroup,
    Fillings,
    LabelScore,
    PretrainingAnswer,
    Ranked,
    ReplacedToken,
    TokenLabel,
)

Floats = NDArray[np.float32]

with bvx.load("any.bvx", threads=2) as model:
    assert_type(model, bvx.Encoder)
    arrays = model.tokenize(["a text"], truncate=True)
    assert_type(model.run(**arrays), dict[str, NDArray[Any]])
    report = model.verify()
    print(report.summary() if not report else model.task)

features = bvx.FeatureExtractor.load("a.bvx")
assert_type(features("a"), Floats)
assert_type(features(["a"], ["b"], batch_size=2), list[Floats])

embedder = bvx.SentenceEmbedder.load("a.bvx")
assert_type(embedder("a"), Floats)
assert_type(embedder(text for text in ("a", "b")), list[Floats])
assert_type(embedder.similarity("a", ["b", "c"]), Floats)

classifier = bvx.TextClassifier.load("a.bvx")
assert_type(classifier("a"), LabelScore)
assert_type(classifier("a", "b", top_k=2), list[LabelScore])
assert_type(classifier(["a"], function_to_apply="sigmoid"), list[LabelScore])
assert_type(classifier(["a"], top_k=None), list[list[LabelScore]])
print(classifier("a")["label"].upper(), classifier("a")["score"] + 1)

tagger = bvx.TokenClassifier.load("a.bvx")
assert_type(tagger("a"), list[TokenLabel])
assert_type(tagger(["a"]), list[list[TokenLabel]])
assert_type(tagger("a", aggregation_strategy="simple"), list[EntityGroup])
assert_type(tagger(["a"], aggregation_strategy="max"), list[list[EntityGroup]])

answerer = bvx.QuestionAnswerer.load("a.bvx")
assert_type(answerer("who?", "he"), AnswerSpan)
assert_type(answerer("who?", "he", top_k=3), list[AnswerSpan])
assert_type(answerer(["who?"], ["he"]), list[AnswerSpan])
assert_type(answerer(["who?"], ["he"], top_k=3), list[list[AnswerSpan]])

chooser = bvx.MultipleChoice.load("a.bvx")
assert_type(chooser("a", ["b", "c"]), list[Choice])
assert_type(chooser(["a"], [["b", "c"]]), list[list[Choice]])

filler = bvx.MaskFiller.load("a.bvx")
assert_type(filler("a [MASK]", targets="b"), Fillings)
assert_type(filler(["a [MASK]"], top_k=2), list[Fillings])

reranker = bvx.Reranker.load("a.bvx")
assert_type(reranker("a", "b"), float)
assert_type(reranker(["a"], ["b"]), list[float])
assert_type(reranker.rank("a", ["b", "c"], top_k=1), list[Ranked])

detector = bvx.ReplacedTokenDetector.load("a.bvx")
assert_type(detector("a"), list[ReplacedToken])
assert_type(detector(["a"], threshold=0.5), list[list[ReplacedToken]])

pairs = bvx.SentencePairClassifier.load("a.bvx")
assert_type(pairs("a", "b"), list[LabelScore])
assert_type(pairs(["a"], ["b"]), list[list[LabelScore]])

pretraining = bvx.PretrainingModel.load("a.bvx")
assert_type(pretraining("a [MASK]", "b"), PretrainingAnswer)
assert_type(pretraining(["a [MASK]"]), list[PretrainingAnswer])

try:
    bvx.load("nothing.bvx")
except bvx.BundleError as error:
    assert_type(error.cause, str)
    print(error.next_step, error.exit_code)
"""

WRONG = (
    'bvx.TextClassifier.load("a.bvx")("a", topk=2)',
    'bvx.TextClassifier.load("a.bvx")("a")["lable"]',
    'bvx.QuestionAnswerer.load("a.bvx")("who?")',
    'bvx.load("a.bvx", thread=2)',
    'bvx.TokenClassifier.load("a.bvx")("a", aggregation_strategy="mean")',
    'bvx.load("a.bvx").similarity("a", "b")',
)
"""Mistakes that a checker must see, a line each."""


def check(tool: str, folder: Path, installed: Path, code: str) -> tuple[int, str]:
    """The exit code and the words of a checker on a user's file, with bvx as it is installed."""
    (folder / "user.py").write_text(code)
    (folder / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(installed)], "pythonVersion": "3.11"})
    )
    (folder / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {installed}\nfollow_imports = silent\n")
    command = {
        "mypy": [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "user.py"],
        "pyright": [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", ".", "user.py"],
    }[tool]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_a_users_code_is_clean(tool: str, installed: Path, tmp_path: Path) -> None:
    code, words = check(tool, tmp_path, installed, USER)
    assert code == 0, words


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_a_users_mistakes_are_seen(tool: str, installed: Path, tmp_path: Path) -> None:
    code, words = check(tool, tmp_path, installed, "\n".join(["import bvx", *WRONG]))
    assert code == 1, words
    seen = {int(line) for line in re.findall(r"user\.py:(\d+):(?:\d+ -)? error:", words)}
    assert seen == set(range(2, 2 + len(WRONG))), words
