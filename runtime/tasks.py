"""The tasks that bvx knows, under Optimum's names, and the outputs that each one's graph has."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import PlanError

__all__ = ["TASKS", "Task", "find_task"]


@dataclass(frozen=True)
class Task:
    """One task: its name, the other names people use for it, and its graph's outputs in order.

    `auto_class` is the transformers class that loads a model with this head. `architectures` are the endings
    of a checkpoint's `architectures` entry that say "this checkpoint was made for this task". An `objective` is a task
    of some families' pre-training: those name it, and which of `outputs` they have.
    """

    name: str
    outputs: tuple[str, ...]
    auto_class: str
    architectures: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    objective: bool = False


TASKS: tuple[Task, ...] = (
    Task(
        "feature-extraction",
        ("last_hidden_state", "pooler_output"),
        "AutoModel",
        ("Model",),
        ("default", "features", "pretraining"),
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
        "token-classification",
        ("logits",),
        "AutoModelForTokenClassification",
        ("ForTokenClassification",),
        ("ner", "named-entity-recognition"),
    ),
    Task(
        "question-answering",
        ("start_logits", "end_logits"),
        "AutoModelForQuestionAnswering",
        ("ForQuestionAnswering",),
        ("extractive-question-answering",),
    ),
    Task(
        "multiple-choice",
        ("logits",),
        "AutoModelForMultipleChoice",
        ("ForMultipleChoice",),
    ),
    Task(
        "fill-mask",
        ("logits",),
        "AutoModelForMaskedLM",
        ("ForMaskedLM",),
        ("masked-lm",),
    ),
    Task(
        "text-ranking",
        ("logits",),
        "AutoModelForSequenceClassification",
        (),
        ("cross-encoder", "reranking"),
    ),
    Task(
        "replaced-token-detection",
        ("logits",),
        "AutoModelForPreTraining",
        ("ElectraForPreTraining",),
        objective=True,
    ),
    Task(
        "sentence-order-prediction",
        ("sop_logits",),
        "AutoModelForPreTraining",
        (),
        objective=True,
    ),
    Task(
        "next-sentence-prediction",
        ("logits",),
        "AutoModelForNextSentencePrediction",
        ("ForNextSentencePrediction",),
        objective=True,
    ),
    Task(
        "pretraining-heads",
        ("prediction_logits", "sop_logits", "seq_relationship_logits"),
        "AutoModelForPreTraining",
        ("AlbertForPreTraining", "BertForPreTraining"),
        ("for-pretraining",),
        objective=True,
    ),
)


def find_task(name: str) -> Task:
    """The task called `name`, or one of whose synonyms is `name`. Raises PlanError, listing the known names."""
    for task in TASKS:
        if name == task.name or name in task.synonyms:
            return task
    known = ", ".join(task.name for task in TASKS)
    raise PlanError(f"There is no task {name!r}.", f"Choose one of: {known}.")
