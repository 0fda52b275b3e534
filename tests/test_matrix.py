"""Every family with every task that it can have, by the installed wheel: exported, verified, served without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bvx.exporter.families import known_families
from bvx.runtime.errors import UnsupportedModel
from bvx.runtime.tasks import TASKS

EXPORT = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
import bvx
from bvx.exporter import pipeline
from bvx.exporter.cli import main

assert Path(bvx.__file__).is_relative_to(sys.argv[1]), bvx.__file__
captures, folder, family, checkpoint, *tasks = sys.argv[2:]
spec = spec_from_file_location("captures", captures)
spec.loader.exec_module(module := module_from_spec(spec))
for index, task in enumerate(tasks):
    if index == 1:
        pipeline.capture = module.Captures(Path(folder), pipeline.capture)
    words = [checkpoint, "--random-weights", "--family", family, "--task", task, "--out", f"{task}.bvx"]
    assert main(["export", *words, "--quiet"]) == 0, task
"""
"""Exports a family's tasks. The wheel traces the first one in any case, the others where no other test has."""

SERVE = """
import json, sys
from pathlib import Path

for heavy in ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "typer", "rich"):
    sys.modules[heavy] = None
import bvx

assert Path(bvx.__file__).is_relative_to(sys.argv[1]), bvx.__file__
inputs = json.loads(sys.argv[2])
found = {}
for task, given in inputs.items():
    with bvx.load(f"{task}.bvx", threads=1) as model:
        mask = model.manifest.head.get("mask_token", "")
        given = [part.replace("MASK", mask) if isinstance(part, str) else part for part in given]
        answer = model(*given)
        several = model(*([part, part] for part in given))
        found[task] = {
            "class": type(model).__name__,
            "verified": bool(model.verify()),
            "answer": answer.tolist() if hasattr(answer, "tolist") else answer,
            "count": len(several),
        }
print(json.dumps(found))
"""

TEXT, OTHER = "The cat sat on the mat.", "A dog ran over the road and the field."

INPUTS: dict[str, list[Any]] = {
    "feature-extraction": [TEXT],
    "sentence-similarity": [TEXT],
    "text-classification": [TEXT, OTHER],
    "token-classification": [TEXT],
    "question-answering": ["Where did the cat sit?", TEXT],
    "multiple-choice": [TEXT, [OTHER, "No.", TEXT]],
    "fill-mask": ["The cat sat on the MASK."],
    "text-ranking": [TEXT, OTHER],
    "replaced-token-detection": [TEXT],
    "sentence-order-prediction": [TEXT, OTHER],
    "next-sentence-prediction": [TEXT, OTHER],
    "pretraining-heads": ["The cat sat on the MASK.", OTHER],
}

CLASSES = {
    "feature-extraction": "FeatureExtractor",
    "sentence-similarity": "SentenceEmbedder",
    "text-classification": "TextClassifier",
    "token-classification": "TokenClassifier",
    "question-answering": "QuestionAnswerer",
    "multiple-choice": "MultipleChoice",
    "fill-mask": "MaskFiller",
    "text-ranking": "Reranker",
    "replaced-token-detection": "ReplacedTokenDetector",
    "sentence-order-prediction": "SentencePairClassifier",
    "next-sentence-prediction": "SentencePairClassifier",
    "pretraining-heads": "PretrainingModel",
}

OBJECTIVES = {
    "albert": {"sentence-order-prediction", "pretraining-heads"},
    "bert": {"next-sentence-prediction", "pretraining-heads"},
    "electra": {"replaced-token-detection"},
    "roberta": set(),
    "spanbert": set(),
}
"""What each family was pre-trained for beside filling masks; every other task is one of every family."""


def tasks_of(family: str) -> list[str]:
    return [task.name for task in TASKS if not task.objective or task.name in OBJECTIVES[family]]


@pytest.fixture(scope="module")
def served(
    installed: Path, captures: Any, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """What the bundles of a family answer, by task: served("albert"). Made and asked once."""

    def run(folder: Path, code: str, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        command = [sys.executable, "-c", code, str(installed), *arguments]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    @cache
    def find(family: str) -> dict[str, Any]:
        folder, tasks = tmp_path_factory.mktemp(family), tasks_of(family)
        (folder / "checkpoint").mkdir()
        shape = {**known_families()[family].tiny, "num_hidden_layers": 2}
        (folder / "checkpoint" / "config.json").write_text(json.dumps(shape))
        run(folder, EXPORT, str(root / "tests/captures.py"), str(captures.folder), family, "checkpoint", *tasks)
        answers: dict[str, Any] = json.loads(run(folder, SERVE, json.dumps({task: INPUTS[task] for task in tasks})))
        return answers

    return find


def test_the_families_have_the_objectives_that_they_were_trained_for() -> None:
    assert list(OBJECTIVES) == list(known_families())
    for name, family in known_families().items():
        for task in TASKS:
            if task.objective and task.name not in OBJECTIVES[name]:
                with pytest.raises(UnsupportedModel, match=task.name):
                    family.outputs(task)
            else:
                assert set(family.outputs(task)) <= set(task.outputs)


@pytest.mark.package
@pytest.mark.parametrize(("family", "task"), [(family, task) for family in OBJECTIVES for task in tasks_of(family)])
def test_a_cell_of_the_matrix(served: Callable[[str], dict[str, Any]], family: str, task: str) -> None:
    found = served(family)[task]
    assert found["class"] == CLASSES[task]
    assert found["verified"] and found["count"] == 2
    CHECKS[task](found["answer"])


def check_probabilities(scores: list[float], *, sum_to_one: bool = True) -> None:
    assert scores and all(0 <= score <= 1 for score in scores)
    assert not sum_to_one or sum(scores) == pytest.approx(1, abs=1e-5)


def check_features(answer: Any) -> None:
    assert len(answer) > 6 and {len(token) for token in answer} == {32}


def check_embedding(answer: Any) -> None:
    assert len(answer) == 32 and any(answer)


def check_label(answer: Any) -> None:
    assert answer["label"] in ("LABEL_0", "LABEL_1") and 0.5 <= answer["score"] <= 1


def check_entities(answer: Any) -> None:
    assert answer and {entity["entity"] for entity in answer} <= {"LABEL_0", "LABEL_1"}
    assert [entity["start"] for entity in answer] == sorted(entity["start"] for entity in answer)
    assert all(0 <= entity["start"] < entity["end"] <= len(TEXT) for entity in answer)


def check_span(answer: Any) -> None:
    assert answer["answer"] and TEXT[answer["start"] : answer["end"]] == answer["answer"]
    check_probabilities([answer["score"]], sum_to_one=False)


def check_choices(answer: Any) -> None:
    check_probabilities([choice["score"] for choice in answer])
    assert {choice["index"]: choice["text"] for choice in answer} == dict(enumerate(INPUTS["multiple-choice"][1]))
    assert [choice["score"] for choice in answer] == sorted((choice["score"] for choice in answer), reverse=True)


def check_fillings(answer: Any) -> None:
    assert len(answer) == 5
    check_probabilities([filling["score"] for filling in answer], sum_to_one=False)


def check_score(answer: Any) -> None:
    check_probabilities([answer], sum_to_one=False)


def check_replaced(answer: Any) -> None:
    check_probabilities([token["score"] for token in answer], sum_to_one=False)
    assert "".join(TEXT[token["start"] : token["end"]] for token in answer) == TEXT.replace(" ", "")


def check_pair(labels: set[str]) -> Callable[[Any], None]:
    def check(answer: Any) -> None:
        check_probabilities([label["score"] for label in answer])
        assert {label["label"] for label in answer} == labels

    return check


def check_pretraining(answer: Any) -> None:
    (fillings,) = answer["fillings"]
    check_fillings(fillings)
    check_probabilities([label["score"] for label in answer["pair"]])


CHECKS: dict[str, Callable[[Any], None]] = {
    "feature-extraction": check_features,
    "sentence-similarity": check_embedding,
    "text-classification": check_label,
    "token-classification": check_entities,
    "question-answering": check_span,
    "multiple-choice": check_choices,
    "fill-mask": check_fillings,
    "text-ranking": check_score,
    "replaced-token-detection": check_replaced,
    "sentence-order-prediction": check_pair({"in_order", "swapped"}),
    "next-sentence-prediction": check_pair({"next", "not_next"}),
    "pretraining-heads": check_pretraining,
}
