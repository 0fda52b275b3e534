"""The door to transformers: a checkpoint's configuration, weights and tokenizer, checked, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

from ...runtime.manifest import ModelInfo
from ...runtime.tasks import TASKS, Task, find_task
from ..families import Family, find_architecture, find_family, recognise
from ..plan import ExportPlan
from ..progress import Progress, Silent
from .config import choose_family, complete_config, read_config
from .hub import Source, find_checkpoint
from .sentence import Modules, plain_modules, read_modules
from .standin import make_random_model, make_tokenizer
from .task import choose_task, describe_head
from .tokenizer import FrozenTokenizer, freeze_folder
from .weights import Loaded, drops_pooler, load_weights, settle

__all__ = ["Checkpoint", "FrozenTokenizer", "checkpoint_from_model", "load_checkpoint"]

_CHAINED = ("sentence-similarity", "text-ranking")
"""The tasks of sentence-transformers' own models."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that an export needs to know of a model.

    `model` is the transformers model: float32, eval mode, SDPA attention, no gradients. `config` is its configuration
    with transformers' defaults filled in. `outputs` are the task's outputs that this model has. `head` is the
    manifest's. `extra_files` are the files that the bundle keeps beside the tokenizer's, by path. `max_length` is the
    longest input in tokens, special tokens included.
    """

    model: torch.nn.Module
    config: Mapping[str, Any]
    family: Family
    task: Task
    outputs: tuple[str, ...]
    head: Mapping[str, Any]
    tokenizer: FrozenTokenizer | None
    model_info: ModelInfo
    max_length: int
    extra_files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def unexpected_weights(self) -> tuple[str, ...]:
        """The checkpoint's weights that a model for this task has no place for (other heads, poolers)."""
        return self.model_info.unexpected_weights


def load_checkpoint(plan: ExportPlan, progress: Progress | None = None) -> Checkpoint:
    """The checkpoint that the plan names, downloaded where it has to be, or made up with `plan.random_weights`.

    Raises CheckpointError when it cannot be found or read or misses weights, UnknownFamily, UnsupportedModel, and
    PlanError for an unknown task.
    """
    progress = progress or Silent()
    if plan.random_weights:
        return _random_checkpoint(plan, progress)
    source = find_checkpoint(plan.model, plan.revision, progress)
    progress.stage("load")
    modules = _read_modules(source, plan)
    raw, folder = _read(source, modules)
    family = choose_family(raw, plan.family)
    task = choose_task(plan.task, raw, modules)
    family.outputs(task)  # Raises for an objective that the family was not pre-trained with.
    config = complete_config(raw, family)
    if plan.allow_new_head and not _has_head(raw, task):
        _shape_new_head(config, task)
    loaded = load_weights(folder, config, family, task, allow_new_head=plan.allow_new_head, seed=plan.seed)
    if loaded.new:
        progress.warn(f"The checkpoint has no head for {task.name}: the bundle's was never trained. Plan with it only.")
    if family.pooler and "pooler_output" in task.outputs and not loaded.has_pooler:
        progress.warn("The checkpoint has no pooler, so the bundle has no pooler_output.")
    facts = config.to_dict()
    lowercase_first = modules is not None and modules.lowercase
    tokenizer = freeze_folder(
        folder, facts, family, max_length=family.usable_length(facts), lowercase_first=lowercase_first
    )
    seed = plan.seed if loaded.new else None
    embeds = modules if modules and modules.pooling else None
    return _assemble(loaded, family, task, tokenizer, source, embeds, progress, seed=seed)


def checkpoint_from_model(
    model: torch.nn.Module,
    tokenizer_folder: Path | None = None,
    *,
    task: str,
    family: Family | None = None,
    model_id: str = "a model in memory",
) -> Checkpoint:
    """A transformers model that is already in memory (it is put into eval mode and float32), as a checkpoint.

    Without a tokenizer's folder the checkpoint has none, and fill-mask no mask token.
    """
    config = model.config
    assert isinstance(config, transformers.PretrainedConfig)
    facts = config.to_dict()
    family = family or recognise(facts)
    tokenizer = None
    if tokenizer_folder is not None:
        tokenizer = freeze_folder(tokenizer_folder, facts, family, max_length=family.usable_length(facts))
    has_pooler = getattr(model, "pooler", None) is not None
    loaded = Loaded(settle(model, find_task(task)), (), has_pooler)
    source = Source(Path(), model_id, None)
    return _assemble(loaded, family, find_task(task), tokenizer, source, None, Silent())


def _read_modules(source: Source, plan: ExportPlan) -> Modules | None:
    if not (source.folder / "modules.json").is_file():
        return None
    # What follows the encoder is of no interest to a task that the encoder is for by itself.
    return read_modules(source.folder, whole=plan.task is None or find_task(plan.task).name in _CHAINED)


def _read(source: Source, modules: Modules | None) -> tuple[dict[str, Any], Path]:
    folder = source.folder / modules.transformer if modules else source.folder
    raw = read_config(folder)
    if modules and modules.activation:
        # A bundle has no modules.json for it: config.json is where every sentence-transformers looks then.
        raw["sentence_transformers"] = {"activation_fn": modules.activation}
    return raw, folder


def _random_checkpoint(plan: ExportPlan, progress: Progress) -> Checkpoint:
    """Random weights for a known architecture, or for the config.json of a local folder."""
    progress.stage("random weights")
    folder, normalize = Path(plan.model).expanduser(), False
    if (folder / "config.json").is_file():
        name, raw = folder.resolve().name, read_config(folder)
        family = choose_family(raw, plan.family)
    else:
        name, family, listed = find_architecture(plan.model)
        raw, normalize = dict(listed), name in family.embedders
        if plan.family is not None and find_family(plan.family) is not family:
            choose_family(family.prepare_config(raw), plan.family)
            family = find_family(plan.family)
    is_embedder = normalize and plan.task is None
    task = find_task("sentence-similarity") if is_embedder else choose_task(plan.task, raw, None)
    family.outputs(task)
    config = complete_config(raw, family)
    if not _has_head(raw, task):
        _shape_new_head(config, task)
    facts = config.to_dict()
    max_length = family.usable_length(facts)
    model = make_random_model(config, task, plan.seed, with_pooler=not drops_pooler(family, task))
    has_pooler = getattr(model, "pooler", None) is not None
    modules = plain_modules(int(facts["hidden_size"]), max_length, normalize=normalize)
    tokenizer = make_tokenizer(family, facts, max_length=max_length)
    source = Source(folder, name, None)
    loaded = Loaded(model, (), has_pooler)
    is_sentence = task.name == "sentence-similarity"
    kept = modules if is_sentence else None
    return _assemble(loaded, family, task, tokenizer, source, kept, progress, seed=plan.seed, random=True)


def _assemble(
    loaded: Loaded,
    family: Family,
    task: Task,
    tokenizer: FrozenTokenizer | None,
    source: Source,
    modules: Modules | None,
    progress: Progress,
    *,
    seed: int | None = None,
    random: bool = False,
) -> Checkpoint:
    config: Any = loaded.model.config
    config.architectures = [type(loaded.model).__name__]
    facts = config.to_dict()
    max_length = family.usable_length(facts)
    if task.name == "sentence-similarity" and modules is None:
        progress.warn("The checkpoint does not say how to pool: embeddings are the mean over tokens, not normalised.")
        modules = plain_modules(int(facts["hidden_size"]), max_length, normalize=False)
    files = {"config.json": _config_json(config)}
    if task.name == "sentence-similarity" and modules is not None:
        files |= modules.files
        # Beyond it sentence-transformers cuts, so an answer to a longer text would be another than its answer.
        max_length = min(max_length, modules.max_length or max_length)
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    outputs = tuple(name for name in family.outputs(task) if name != "pooler_output" or loaded.has_pooler)
    is_embedder = task.name == "sentence-similarity" and modules is not None
    return Checkpoint(
        model=loaded.model,
        config=facts,
        family=family,
        task=task,
        outputs=outputs,
        head=modules.head if is_embedder and modules else describe_head(task, outputs, facts, tokenizer),
        tokenizer=tokenizer,
        model_info=ModelInfo(source.id, source.revision, random, parameters, loaded.unexpected, seed, loaded.new),
        max_length=max_length,
        extra_files=files,
    )


def _has_head(raw: Mapping[str, Any], task: Task) -> bool:
    """Whether the checkpoint was made with the class of model that this task needs."""
    endings = tuple(ending for one in TASKS if one.auto_class == task.auto_class for ending in one.architectures)
    return any(str(name).endswith(endings) for name in raw.get("architectures") or ())


def _shape_new_head(config: Any, task: Task) -> None:
    """A new head has as many labels as the configuration says; one that ranks has one."""
    if task.name == "text-ranking":
        config.num_labels = 1


def _config_json(config: Any) -> bytes:
    """config.json as save_pretrained writes it: with model_type and architectures, without the way here."""
    text: str = config.to_json_string(use_diff=True)
    return (text.strip() + "\n").encode()
