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


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def seen(request: pytest.FixtureRequest, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Where a checker sees errors, with bvx as it is installed: "mistakes.py:2", ….

    It reads both files in one run: most of its time goes to what they import.
    """
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "user.py").write_text(USER)
    (folder / "mistakes.py").write_text("\n".join(["import bvx", *WRONG]))
    (folder / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(installed)], "pythonVersion": "3.11"})
    )
    (folder / "mypy.ini").write_text(f"[mypy]\nstrict = true\nmypy_path = {installed}\nfollow_imports = silent\n")
    options = {
        "mypy": ["--config-file", "mypy.ini", "user.py", "mistakes.py"],
        "pyright": ["--pythonpath", sys.executable, "--project", ".", "user.py", "mistakes.py"],
    }[request.param]
    done = subprocess.run([sys.executable, "-m", request.param, *options], cwd=folder, capture_output=True, text=True)
    words = done.stdout + done.stderr
    assert done.returncode == 1, words
    found = re.findall(r"([\w.]+):(\d+):(?:\d+ -)? error:", words)
    assert len(re.findall(r"\berror:", words)) == len(found), words
    return {f"{file}:{line}" for file, line in found}


def test_a_users_code_is_clean_and_every_mistake_is_seen(seen: set[str]) -> None:
    assert seen == {f"mistakes.py:{number}" for number in range(2, 2 + len(WRONG))}
