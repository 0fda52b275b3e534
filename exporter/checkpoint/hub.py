"""Where a checkpoint's files lie: a local folder, or the hub's cache after a download. The door to huggingface_hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import tqdm

from ...runtime.errors import CheckpointError
from ..progress import Progress

__all__ = ["Source", "find_checkpoint"]

_SMALL = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "[0-9]_*/config.json",
    "0_Transformer/*.json",
    "0_Transformer/*.txt",
    "0_Transformer/spiece.model",
)
_SAFETENSORS = ("model*.safetensors", "model.safetensors.index.json", "0_Transformer/model*.safetensors*")
_PICKLES = ("pytorch_model*.bin", "pytorch_model.bin.index.json", "0_Transformer/pytorch_model*.bin*")

_RANDOM = "or plan without the weights: --random-weights with a known architecture's name"
_LOCAL = "pass the folder of a checkpoint that is already on this machine"


@dataclass(frozen=True)
class Source:
    """A checkpoint's folder, what to call it in the manifest, and the commit where it came from the hub."""

    folder: Path
    id: str
    revision: str | None


def find_checkpoint(model: str, revision: str | None, progress: Progress) -> Source:
    """The folder of `model`, which is a local folder or a hub id that is downloaded where the cache lacks it.

    Honours what huggingface_hub honours: HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, a saved login.
    Raises CheckpointError.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        return Source(path, path.resolve().name, None)
    if path.exists():
        raise CheckpointError(
            f"{model} is a file; a checkpoint is a folder with config.json and weights.",
            f"Pass the folder: {path.parent}",
        )
    if _looks_like_path(model):
        raise CheckpointError(
            f"There is no folder {model}, and it cannot be a hub id (those look like owner/name).",
            f"Check the path (the current folder is {Path.cwd()}), pass a hub id, {_RANDOM}.",
        )
    return _from_hub(model, revision, progress)


def _looks_like_path(model: str) -> bool:
    return model.startswith((".", "/", "~")) or model.endswith("/") or model.count("/") > 1 or "\\" in model


def _from_hub(model: str, revision: str | None, progress: Progress) -> Source:
    try:
        folder = _download(model, revision, progress)
    except Exception as error:  # whatever the hub's client raises has to become a sentence
        raise _explain(model, revision, error) from error
    commit = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else revision
    return Source(folder, model, commit)


def _download(model: str, revision: str | None, progress: Progress) -> Path:
    if constants.HF_HUB_OFFLINE:
        return _from_cache(model, revision)
    try:
        info = huggingface_hub.HfApi().model_info(model, revision=revision, files_metadata=True)
    except (HfHubHTTPError, HFValidationError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code >= 500:
            return _from_cache(model, revision, error)
        raise
    except Exception as error:  # noqa: BLE001 - DNS, proxy, timeout: each HTTP library names them differently
        return _from_cache(model, revision, error)
    sizes = {entry.rfilename: entry.size or 0 for entry in info.siblings or ()}
    wanted = _choose(list(sizes))
    progress.stage("download", sum(sizes[name] for name in wanted))
    return Path(
        huggingface_hub.snapshot_download(
            model, revision=revision, allow_patterns=wanted, tqdm_class=_reporting_to(progress)
        )
    )


def _choose(names: list[str]) -> list[str]:
    """What an export reads of a repository: everything small, and one form of the weights."""

    def matching(patterns: tuple[str, ...]) -> list[str]:
        return [name for name in names if any(_same_depth_match(name, pattern) for pattern in patterns)]

    return matching(_SMALL) + (matching(_SAFETENSORS) or matching(_PICKLES))


def _same_depth_match(name: str, pattern: str) -> bool:
    # fnmatch's star crosses slashes; onnx/model.safetensors must not pass for model*.safetensors.
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def _from_cache(model: str, revision: str | None, network: Exception | None = None) -> Path:
    """The newest complete download of the model. Raises what went wrong with the network where there is none."""
    last: Exception | None = network
    for weights in (_SAFETENSORS, _PICKLES):
        try:
            found = huggingface_hub.snapshot_download(
                model, revision=revision, allow_patterns=[*_SMALL, *weights], local_files_only=True
            )
        except LocalEntryNotFoundError as error:
            last = last or error
        else:
            return Path(found)
    assert last is not None
    raise last


def _explain(model: str, revision: str | None, error: Exception) -> CheckpointError:
    """What happened, in one sentence, and the ways out."""
    if isinstance(error, HFValidationError):
        return CheckpointError(
            f"{model!r} is neither a folder on this machine nor a possible hub id.",
            f"Hub ids look like roberta-base or owner/name; {_LOCAL}, {_RANDOM}.",
        )
    if isinstance(error, RevisionNotFoundError):
        return CheckpointError(
            f"{model} on the hub has no revision {revision!r}.", "Check --revision, or leave it out."
        )
    if isinstance(error, GatedRepoError):
        return CheckpointError(
            f"{model} is gated: the hub hands it out only to accounts that accepted its terms.",
            f"Accept them on {constants.ENDPOINT}/{model} and log in (`hf auth login`, or HF_TOKEN); {_LOCAL}; "
            f"{_RANDOM}.",
        )
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403, 404):
        return CheckpointError(
            f"There is no folder {model} on this machine, and the hub has no model of that name that you may read.",
            f"Check the spelling; if it is private, log in (`hf auth login`, or HF_TOKEN); {_LOCAL}; {_RANDOM}.",
        )
    if isinstance(error, OSError) and not isinstance(error, (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError)):
        return CheckpointError(
            f"{model} could not be stored in {constants.HF_HUB_CACHE}: {error}.", f"Free some space there, or {_LOCAL}."
        )
    if constants.HF_HUB_OFFLINE or isinstance(error, OfflineModeIsEnabled):
        return CheckpointError(
            f"{model} is not in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE forbids a download.",
            f"Go online (unset HF_HUB_OFFLINE); {_LOCAL}; {_RANDOM}.",
        )
    reason = f"it answered {status}" if status else type(error).__name__
    return CheckpointError(
        f"{model} is not in the cache ({constants.HF_HUB_CACHE}), "
        f"and {constants.ENDPOINT} cannot be reached ({reason}).",
        f"Go online and try again; {_LOCAL}; {_RANDOM}.",
    )


def _reporting_to(progress: Progress) -> Any:
    """A tqdm class that tells `progress` of the bytes written, and draws nothing."""
    drawing: Any = tqdm

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        # Of the bars that a download has, the one of this name counts what has reached the disk.
        self.counts = kwargs.get("name") == "huggingface_hub.snapshot_download"
        drawing.__init__(self, *args, **{**kwargs, "disable": True})

    def update(self: Any, n: float | None = 1) -> None:
        if self.counts and n:
            progress.advance(int(n))

    return type("Reporting", (drawing,), {"__init__": __init__, "update": update})
