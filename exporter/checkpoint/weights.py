"""Weights into a model: nothing missing, nothing guessed, nothing executed.

transformers does the renaming (gamma/beta, the base model's prefix present or absent), the upcasting and the tying;
its own account of what did not fit, which from_pretrained only logs, is what decides here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
import transformers

from ...runtime.errors import CheckpointError, UnsupportedModel
from ...runtime.tasks import Task
from ..families import Family
from .config import read_json
from .misfits import check_fit

__all__ = ["Loaded", "drops_pooler", "load_weights", "model_class", "settle"]

_FORMS = (
    ("model.safetensors", "model.safetensors.index.json", True),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", False),
)
_FOREIGN = ("tf_model.h5", "flax_model.msgpack", "model.ckpt.index", "rust_model.ot")


@dataclass(frozen=True)
class Loaded:
    """A model with its weights.

    `unexpected` are the checkpoint's weights that it has no place for, `new` those of its head that the checkpoint
    does not have, and that were drawn.
    """

    model: torch.nn.Module
    unexpected: tuple[str, ...]
    has_pooler: bool
    new: tuple[str, ...] = ()


def model_class(task: Task) -> Any:
    """The transformers class that makes a model with this task's head."""
    return getattr(transformers, task.auto_class)


def load_weights(
    folder: Path,
    config: transformers.PretrainedConfig,
    family: Family,
    task: Task,
    *,
    allow_new_head: bool = False,
    seed: int = 0,
) -> Loaded:
    """The model for `task` with the folder's weights: float32, eval mode, SDPA attention, no gradients.

    A base model whose checkpoint has no pooler is loaded without one. A head that the checkpoint does not have is
    drawn with `seed` where `allow_new_head`. Raises CheckpointError, naming every weight that is missing or has
    another shape.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _load_checked(folder, config, family, task, allow_new_head)


def _load_checked(
    folder: Path, config: transformers.PretrainedConfig, family: Family, task: Task, allow_new_head: bool
) -> Loaded:
    safetensors = _find_weights(folder)
    with_pooler = "pooler_output" in task.outputs and family.pooler
    model, info = _load(folder, config, task, safetensors, not drops_pooler(family, task))
    if with_pooler and _lacks_pooler(model, info):
        with_pooler = False
        model, info = _load(folder, config, task, safetensors, False)
    new = check_fit(model, info, config.architectures or (), task, allow_new_head=allow_new_head)
    return Loaded(settle(model, task), tuple(sorted(info["unexpected_keys"])), with_pooler, new)


def settle(model: torch.nn.Module, task: Task) -> torch.nn.Module:
    """The same model, ready to be exported: float32, eval mode, no gradients.

    A model that chooses between texts reads them one by one from now on, [batch, length] and not [batch, choices,
    length], so that questions with any number of choices can run together: its logits are [batch, 1].

    Raises CheckpointError for weights that are not finite, naming all of them: whatever such a model says is no answer,
    and a graph that says the same is no proof.
    """
    model.float().eval().requires_grad_(False)
    broken = [name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())]
    if broken:
        raise CheckpointError(
            f"These weights hold NaN or infinity ({len(broken)}): {', '.join(broken)}.",
            "Save the checkpoint again from a training step before it diverged, or in float32 if it was halved.",
        )
    if task.name == "multiple-choice":
        _read_one_by_one(model)
    return model


def _read_one_by_one(model: torch.nn.Module) -> None:
    forward = model.forward

    def forward_each(**given: Any) -> Any:
        tensors = {name: value.unsqueeze(1) for name, value in given.items() if isinstance(value, torch.Tensor)}
        return forward(**{**given, **tensors})

    model.forward = forward_each


def drops_pooler(family: Family, task: Task) -> bool:
    """Whether the task's model is a base model that has a pooler by default, which nobody asked for."""
    return family.pooler and task.auto_class == "AutoModel" and "pooler_output" not in task.outputs


def _find_weights(folder: Path) -> bool:
    """Whether the weights are safetensors. Raises CheckpointError when there are none, or a shard is missing."""
    if (folder / "adapter_config.json").exists():
        raise UnsupportedModel(
            f"{folder} holds an adapter (adapter_config.json), not a whole model.",
            "Merge it into its base model first (PEFT: merge_and_unload), and export the result.",
        )
    for single, index, safetensors in _FORMS:
        if (folder / single).is_file():
            _refuse_pointer(folder / single)
            return safetensors
        if (folder / index).is_file():
            _check_shards(folder, index)
            return safetensors
    if (folder / "bvx.json").exists():
        raise CheckpointError(
            f"{folder} is a bundle, not a checkpoint: it holds graphs, and no weights for PyTorch.",
            "Export the checkpoint that it was made from; `bvx inspect` shows which.",
        )
    foreign = [name for name in _FOREIGN if (folder / name).exists()]
    found = f"only {' and '.join(foreign)}, which is not PyTorch's" if foreign else "none of them"
    raise CheckpointError(
        f"{folder} has no weights: wanted model.safetensors or pytorch_model.bin (or their shards), found {found}.",
        "Complete the folder, or plan without the weights: --random-weights.",
    )


def _check_shards(folder: Path, index: str) -> None:
    shards = sorted({str(name) for name in (read_json(folder / index).get("weight_map") or {}).values()})
    if not shards:
        raise CheckpointError(f"{folder / index} names no shards.", "Download the checkpoint again.")
    outside = [name for name in shards if _leaves_folder(name)]
    if outside:
        raise CheckpointError(
            f"{index} names files outside the checkpoint's folder: {', '.join(outside)}.",
            "Do not trust this checkpoint; get it from where it was published.",
        )
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(
            f"{folder} misses {len(missing)} of the {len(shards)} files that {index} names: {', '.join(missing)}.",
            "Download the checkpoint again.",
        )
    for name in shards:
        _refuse_pointer(folder / name)


def _leaves_folder(name: str) -> bool:
    # Lexical on purpose: the hub's cache is made of symlinks that lead out of the snapshot's folder.
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in name


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(24) == b"version https://git-lfs.":
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the weights.", "Run `git lfs pull` in that folder."
            )


def _load(
    folder: Path, config: transformers.PretrainedConfig, task: Task, safetensors: bool, default_pooler: bool
) -> tuple[Any, Mapping[str, Any]]:
    options = {} if default_pooler else {"add_pooling_layer": False}
    try:
        with _quiet():
            model, info = model_class(task).from_pretrained(
                folder,
                config=config,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that all of them can be listed together
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=safetensors,
                weights_only=True,
                dtype=torch.float32,
                attn_implementation="sdpa",
                **options,
            )
    except Exception as error:  # damaged files raise errors of many libraries
        raise _explain(folder, safetensors, error) from error
    return model, info


def _explain(folder: Path, safetensors: bool, error: Exception) -> CheckpointError:
    text = str(error).strip()
    first_line = text.splitlines()[0] if text else type(error).__name__
    if not safetensors and ("weights_only" in text.lower() or "unpickl" in (type(error).__name__ + text).lower()):
        return CheckpointError(
            f"{folder} holds a pickle that is damaged, or that would run code when opened; bvx opens neither.",
            "Ask for the weights as safetensors, or convert them where you trust them.",
        )
    return CheckpointError(
        f"The weights in {folder} cannot be read: {type(error).__name__}: {first_line}",
        "Download the checkpoint again; if that does not help, the files do not belong to this config.json.",
    )


def _pooler(names: Any) -> set[str]:
    return {name for name in names if name.split(".")[0] == "pooler"}


def _lacks_pooler(model: torch.nn.Module, info: Mapping[str, Any]) -> bool:
    wanted = _pooler(model.state_dict())
    return bool(wanted) and wanted == _pooler(info["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and its load report: what they say is said by errors and the manifest."""
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
