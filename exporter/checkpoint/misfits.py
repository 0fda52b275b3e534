"""What of a checkpoint's weights does not fit the model, by transformers' own account, and which of it may be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...runtime.errors import CheckpointError
from ...runtime.tasks import TASKS, Task

__all__ = ["check_fit"]

_FINE_TUNED = ("text-classification", "token-classification", "question-answering", "multiple-choice")
"""The tasks whose heads may go by the same names, though each is made for its own."""


def check_fit(
    model: Any, info: Mapping[str, Any], architectures: Sequence[str], task: Task, *, allow_new_head: bool
) -> tuple[str, ...]:
    """The weights that were missing and may be: those of a head for `task`, where `allow_new_head`.

    `info` is what from_pretrained says of loading `model`, `architectures` are the checkpoint's own. Raises
    CheckpointError, naming every weight that is missing or has another shape, and for another task's head.
    """
    _refuse_another_head(info, architectures, task)
    _refuse_misfits(info)
    missing = sorted(info["missing_keys"])
    if not missing:
        return ()
    listed = ", ".join(missing)
    is_head = _is_head(model, missing)
    if is_head and allow_new_head:
        return tuple(missing)
    if is_head:
        made_for = ", ".join(architectures) or "a base model"
        raise CheckpointError(
            f"The checkpoint (made as {made_for}) has no head for {task.name}; these weights are missing: {listed}.",
            f"Use --task {_find_own(architectures)}, or a checkpoint that was fine-tuned for {task.name}; to plan with "
            "an untrained head, --allow-new-head.",
        )
    unexpected = ", ".join(sorted(info["unexpected_keys"])) or "none"
    raise CheckpointError(
        f"The checkpoint misses these weights ({len(missing)}): {listed} (weights without a place: {unexpected}).",
        "Download the checkpoint again, or check that config.json and --family are this checkpoint's own.",
    )


def _refuse_another_head(info: Mapping[str, Any], architectures: Sequence[str], task: Task) -> None:
    own = {one.name: one.auto_class for one in TASKS if one.name in _FINE_TUNED}
    made_for = _find_own(architectures)
    is_another = made_for in own and task.auto_class in own.values() and own[made_for] != task.auto_class
    if is_another and not info["missing_keys"]:
        raise CheckpointError(
            f"The checkpoint's head was made for {made_for} ({', '.join(architectures)}), not for {task.name}, though "
            "its weights have the same names.",
            f"Use --task {made_for}; if it is config.json that is wrong, mend its architectures.",
        )


def _refuse_misfits(info: Mapping[str, Any]) -> None:
    if info["mismatched_keys"]:
        rows = "; ".join(
            f"{name} is {tuple(found)}, wanted {tuple(wanted)}"
            for name, found, wanted in sorted(info["mismatched_keys"])
        )
        raise CheckpointError(
            f"Weights do not have the shapes that config.json says: {rows}.",
            "The files belong to different models; download the checkpoint again.",
        )
    if info.get("error_msgs"):
        raise CheckpointError(f"Weights cannot be loaded: {info['error_msgs']}.", "Download the checkpoint again.")


def _is_head(model: Any, missing: Sequence[str]) -> bool:
    """Whether `missing` are whole layers of a head, and not what a checkpoint lost of its own."""
    base = f"{model.base_model_prefix}."
    head = [name for name in missing if not name.startswith(base)]
    # BERT's classifier reads the pooler, which a language model's checkpoint lacks: it is missing with the head.
    body = [name for name in missing if name.startswith(base) and not name.startswith(f"{base}pooler.")]
    return model.base_model is not model and bool(head) and not body and not _find_halves(model, base, missing)


def _find_halves(model: Any, base: str, missing: Sequence[str]) -> list[str]:
    """The weights that are there, of layers of which others are missing."""
    weights = dict(model.named_parameters(remove_duplicate=False))
    tied = {weight.data_ptr() for name, weight in weights.items() if name.startswith(base)}
    layers = {name.rpartition(".")[0] for name in missing}
    return [
        name
        for name, weight in weights.items()
        if name.rpartition(".")[0] in layers
        and name not in missing
        # A decoder that is tied to the embeddings is there whenever they are.
        and (name.startswith(base) or weight.data_ptr() not in tied)
    ]


def _find_own(architectures: Sequence[str]) -> str:
    """The task that the checkpoint was made for."""
    found = (task.name for name in architectures for task in TASKS if name.endswith(task.architectures))
    return next(found, "feature-extraction")
