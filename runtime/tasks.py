"""The tasks that bvx knows, under Optimum's names, and the outputs that each one's graph has."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PlanError

__all__ = ["TASKS", "Task", "find_task"]


@dataclass(frozen=True)
class Task:
    """One task: its name, the other names people use for it, and its graph's outputs in order.

    `auto_class` is the transformers class that loads a model with this head. `architectures` are the endings
    of a checkpoint's `architectures` entry that say "this checkpoint was made for this task".
    """

    name: str
    outputs: tuple[str, ...]
    auto_class: str
    architectures: tuple[str, ...]
    synonyms: tuple[str, ...] = ()


TASKS: tuple[Task, ...] = (
    Task(
        "feature-extraction",
        ("last_hidden_state", "pooler_output"),
        "AutoModel",
        ("Model",),
        ("default", "features"),
    ),
    Task(
        "sentence-similarity",
        ("last_hidden_state",),
        "AutoModel",
        (),
        ("sentence-embeddings", "embeddings"),
    ),
    Task(
        "text-classification",
        ("logits",),
        "AutoModelForSequenceClassification",
        ("ForSequenceClassification",),
        ("sequence-classification", "sentiment-analysis", "zero-shot-classification"),
    ),
    Task(
        "fill-mask",
        ("logits",),
        "AutoModelForMaskedLM",
        ("ForMaskedLM", "ForPreTraining"),
        ("masked-lm",),
    ),
)


def find_task(name: str) -> Task:
    """The task called `name`, or one of whose synonyms is `name`. Raises PlanError, listing the known names."""
    for task in TASKS:
        if name == task.name or name in task.synonyms:
            return task
    known = ", ".join(task.name for task in TASKS)
    raise PlanError(f"There is no task {name!r}.", f"Choose one of: {known}.")
