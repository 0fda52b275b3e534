"""Which task a checkpoint was made for, and what that task's answer needs beyond the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import CheckpointError, UnsupportedModel
from ...runtime.tasks import TASKS, Task, find_task

__all__ = ["choose_task", "text_classification_head"]

_NOT_YET = ("ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "ForNextSentencePrediction")


def choose_task(asked: str | None, raw: Mapping[str, Any], root: Path | None) -> Task:
    """The task that was asked for, or that modules.json or `architectures` show.

    `root` is the checkpoint's folder. Raises PlanError for an unknown task and UnsupportedModel for a head that bvx
    does not export.
    """
    if asked is not None:
        return find_task(asked)
    if root is not None and (root / "modules.json").is_file():
        return find_task("sentence-similarity")
    return _from_architectures([str(name) for name in raw.get("architectures") or ()])


def _from_architectures(architectures: Sequence[str]) -> Task:
    for name in architectures:
        if name.endswith(_NOT_YET):
            tasks = ", ".join(task.name for task in TASKS)
            raise UnsupportedModel(
                f"The checkpoint is a {name}, whose head bvx does not export (it knows: {tasks}).",
                "Export its body with --task feature-extraction.",
            )
        if name == "ElectraForPreTraining":
            # Its head tells replaced tokens from real ones; it is no language model, whatever the name's ending.
            return find_task("feature-extraction")
        for task in TASKS:
            if name.endswith(task.architectures):
                return task
    return find_task("feature-extraction")


def text_classification_head(config: Mapping[str, Any]) -> dict[str, Any]:
    """Labels in the order of the logits, and how scores come of them.

    Without a problem_type, as transformers' pipeline decides: one label means sigmoid, several mean softmax.
    """
    names = {int(key): str(value) for key, value in (config.get("id2label") or {}).items()}
    if sorted(names) != list(range(len(names))):
        raise CheckpointError(
            f"config.json's id2label does not number its labels from 0 on: {sorted(names)}.", "Mend it in config.json."
        )
    single = "multi_label_classification" if len(names) == 1 else "single_label_classification"
    return {"labels": [names[index] for index in sorted(names)], "problem_type": config.get("problem_type") or single}
