"""What a checkpoint's config.json says, whose it is, and whether bvx can export such a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from ...runtime.errors import CheckpointError, UnknownFamily, UnsupportedModel
from ..families import Family, find_family, recognise
from .config_values import MEND, check_labels, check_values

__all__ = ["choose_family", "complete_config", "read_config", "read_json"]

_HOW_IT_WAS_RUN = (
    "_attn_implementation",
    "_name_or_path",
    "attn_implementation",
    "dtype",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "use_return_dict",
)
"""Keys that say how somebody once ran the model, not what it is."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in the file at `path`. Raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}.", "Download the checkpoint again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.", "Download the checkpoint again.")
    return content


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json, as it is. Raises CheckpointError."""
    path = folder / "config.json"
    if not path.is_file():
        found = ", ".join(sorted(entry.name for entry in folder.iterdir())[:12]) or "nothing"
        raise CheckpointError(
            f"{folder} has no config.json (there is: {found}).",
            "Pass the folder that transformers' save_pretrained wrote, or a hub id.",
        )
    return read_json(path)


def choose_family(raw: Mapping[str, Any], asked: str | None) -> Family:
    """The family that was asked for, if the config can be one of its, or else the one that recognises the config.

    Raises UnknownFamily, and CheckpointError for a config whose architectures are no names.
    """
    architectures = raw.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(name, str) for name in architectures):
        raise CheckpointError(f"config.json's architectures are no list of names: {architectures!r}.", MEND)
    if asked is None:
        return recognise(raw)
    family = find_family(asked)
    model_type = family.prepare_config(raw).get("model_type")
    if model_type not in (None, family.model_type) or raw.get("model_type") not in (None, family.model_type):
        raise UnknownFamily(
            f"--family {asked} means the model type {family.model_type!r}; config.json says {raw['model_type']!r}.",
            "Leave --family out to have the family recognised.",
        )
    return family


def complete_config(raw: Mapping[str, Any], family: Family) -> transformers.PretrainedConfig:
    """transformers' configuration with its defaults filled in.

    Raises UnsupportedModel for what bvx cannot export, and CheckpointError for values that no model can have.
    """
    _refuse_unsupported(raw)
    check_labels(raw)
    prepared = {key: value for key, value in family.prepare_config(raw).items() if key not in _HOW_IT_WAS_RUN}
    prepared.pop("model_type", None)
    config_class = type(transformers.AutoConfig.for_model(family.model_type))
    try:
        # Cutting the feed-forward network into chunks saves memory in training and changes no number.
        config = config_class.from_dict({**prepared, "chunk_size_feed_forward": 0})
    except Exception as error:  # transformers checks types and sizes with errors of many kinds
        words = " ".join(str(error).split()) or type(error).__name__
        raise UnsupportedModel(
            f"config.json is no configuration of {family.name}: {words.rstrip('.')}.",
            "Compare it with the one of a model of this family that is known to work.",
        ) from error
    check_values(config.to_dict(), config_class().to_dict(), family)
    return config


def _refuse_unsupported(raw: Mapping[str, Any]) -> None:
    if raw.get("auto_map"):
        raise UnsupportedModel(
            "config.json asks for code that comes with the checkpoint (auto_map), and bvx never runs such code.",
            "Export a checkpoint whose model transformers itself implements.",
        )
    if raw.get("quantization_config"):
        settings = raw["quantization_config"]
        method = settings.get("quant_method", "unknown method") if isinstance(settings, dict) else "unknown method"
        raise UnsupportedModel(
            f"The checkpoint's weights are already quantised ({method}).",
            "Export the full-precision checkpoint; bvx quantises it itself (--precision).",
        )
    for key in ("is_decoder", "add_cross_attention", "is_encoder_decoder"):
        if raw.get(key):
            raise UnsupportedModel(f"config.json sets {key}: this is a decoder.", "bvx exports encoders only.")
    positions = raw.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise UnsupportedModel(
            f"The checkpoint has position_embedding_type {positions!r}; bvx exports absolute positions only.",
            "Export a checkpoint that was trained with absolute positions.",
        )
