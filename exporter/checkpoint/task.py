"""Which task a checkpoint was made for, and what that task's answer needs beyond the graph."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...runtime.errors import CheckpointError, UnsupportedModel
from ...runtime.tasks import TASKS, Task, find_task
from .sentence import Modules
from .tokenizer import FrozenTokenizer

__all__ = ["choose_task", "describe_head"]

_SIGMOID = "torch.nn.modules.activation.Sigmoid"
_ACTIVATIONS = {
    _SIGMOID: "sigmoid",
    "torch.nn.Sigmoid": "sigmoid",
    "torch.nn.modules.linear.Identity": "none",
    "torch.nn.Identity": "none",
}
"""What sentence-transformers' CrossEncoder applies to its one logit, and what the runtime calls it."""


def choose_task(asked: str | None, raw: Mapping[str, Any], modules: Modules | None) -> Task:
    """The task that was asked for, or that `modules`, a cross-encoder's config.json or `architectures` show.

    Raises PlanError for an unknown task.
    """
    if asked is not None:
        return find_task(asked)
    if modules is not None and modules.activation is None:
        return find_task("sentence-similarity")
    found = _from_architectures([str(name) for name in raw.get("architectures") or ()])
    is_cross_encoder = found.name == "text-classification" and _activation(raw) is not None
    return find_task("text-ranking") if is_cross_encoder and _count_labels(raw) == 1 else found


def _count_labels(raw: Mapping[str, Any]) -> int:
    return len(raw.get("id2label") or ()) or int(raw.get("num_labels") or 2)  # transformers' default


def _from_architectures(architectures: Sequence[str]) -> Task:
    for name in architectures:
        for task in TASKS:
            if name.endswith(task.architectures):
                return task
    return find_task("feature-extraction")


def describe_head(
    task: Task, outputs: Sequence[str], config: Mapping[str, Any], tokenizer: FrozenTokenizer | None
) -> dict[str, Any]:
    """What the manifest's `head` holds for this task, but for sentence-similarity's pooling.

    `outputs` are the graph's.

    Raises CheckpointError for labels that are not numbered, and UnsupportedModel for a head that does not fit the task.
    """
    if task.name == "text-classification":
        return _text_classification(config)
    if task.name == "token-classification":
        return {"labels": _labels(config), **_unknown_word(tokenizer)}
    if task.name == "replaced-token-detection":
        return _unknown_word(tokenizer)
    if task.name == "text-ranking":
        return _text_ranking(config)
    found: dict[str, Any] = {}
    if task.name in ("fill-mask", "pretraining-heads") and tokenizer is not None:
        found |= _fill_mask(tokenizer, task)
    if task.name == "pretraining-heads":
        (found["pair_output"],) = (name for name in outputs if name != "prediction_logits")
    return found


def _labels(config: Mapping[str, Any]) -> list[str]:
    """The labels in the order of the logits."""
    names = {int(key): str(value) for key, value in (config.get("id2label") or {}).items()}
    if sorted(names) != list(range(len(names))):
        raise CheckpointError(
            f"config.json's id2label does not number its labels from 0 on: {sorted(names)}.", "Mend it in config.json."
        )
    return [names[index] for index in sorted(names)]


def _unknown_word(tokenizer: FrozenTokenizer | None) -> dict[str, Any]:
    """The token whose place in an answer the text itself takes, where the vocabulary has one."""
    if tokenizer is None:
        return {}
    special = json.loads(tokenizer.files["special_tokens_map.json"])
    return {"unk_token": special["unk_token"]} if "unk_token" in special else {}


def _text_classification(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without a problem_type, as transformers' pipeline decides: one label means sigmoid, several mean softmax."""
    labels = _labels(config)
    single = "multi_label_classification" if len(labels) == 1 else "single_label_classification"
    return {"labels": labels, "problem_type": config.get("problem_type") or single}


def _text_ranking(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without an activation, as CrossEncoder decides for one label: the sigmoid."""
    labels = _labels(config)
    if len(labels) != 1:
        raise UnsupportedModel(
            f"The checkpoint gives {len(labels)} labels for a pair ({', '.join(labels[:5])}); one that ranks gives one "
            "score.",
            "Use --task text-classification.",
        )
    activation = _activation(config) or _SIGMOID
    if activation not in _ACTIVATIONS:
        raise UnsupportedModel(
            f"The checkpoint makes scores with {activation!r}; bvx knows {' and '.join(_ACTIVATIONS)}.",
            "Use --task text-classification, and apply it to the logits (function_to_apply='none').",
        )
    return {"function": _ACTIVATIONS[activation]}


def _activation(config: Mapping[str, Any]) -> str | None:
    """The class that a CrossEncoder's config.json names, where sentence-transformers 4 puts it, or where 3 did."""
    settings = config.get("sentence_transformers")
    named = settings.get("activation_fn") if isinstance(settings, Mapping) else None
    named = named or config.get("sbert_ce_default_activation_function")
    return str(named) if named else None


def _fill_mask(tokenizer: FrozenTokenizer, task: Task) -> dict[str, Any]:
    if tokenizer.mask_token is None:
        raise UnsupportedModel(
            f"The vocabulary has no mask token, which {task.name} needs.", "Use --task feature-extraction."
        )
    return {
        "mask_token": tokenizer.mask_token,
        "mask_token_id": tokenizer.mask_token_id,
        "clean_up_tokenization_spaces": tokenizer.cleans_up,
    }
