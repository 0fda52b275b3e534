"""Whether the numbers in a configuration can be those of a model, before a library meets them in its own way."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers.activations import ACT2FN

from ...runtime.errors import CheckpointError
from ..families import Family

__all__ = ["MEND", "check_labels", "check_values"]

_SIZES = (
    "vocab_size",
    "hidden_size",
    "embedding_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "max_position_embeddings",
    "type_vocab_size",
)
_PROBABILITIES = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "classifier_dropout_prob",
)

_LEAST_LENGTH = 3
"""A token between the two special ones."""

MEND = "Mend it in config.json, or download the checkpoint again."


def check_labels(raw: Mapping[str, Any]) -> None:
    """Raises CheckpointError when a raw config.json names its labels in a way that cannot be read."""
    names, count = raw.get("id2label"), raw.get("num_labels")
    if names is not None and not (isinstance(names, dict) and all(_is_number(key) for key in names)):
        raise CheckpointError(f"config.json's id2label is no object of numbers and names: {names!r}.", MEND)
    if not isinstance(raw.get("label2id") or {}, dict):
        raise CheckpointError(f"config.json's label2id is no object of names and numbers: {raw['label2id']!r}.", MEND)
    if count is not None and not (_is_int(count) and count > 0):
        raise CheckpointError(f"config.json says num_labels {count!r}; it has to be a number above 0.", MEND)


def check_values(config: Mapping[str, Any], known: Mapping[str, Any], family: Family) -> None:
    """Raises CheckpointError for the first value that no model of `family` can have.

    `known` are the keys that the family's configuration has; of others nothing is wanted.
    """
    for name in _SIZES:
        if name in known and not (_is_int(config.get(name)) and config[name] > 0):
            raise CheckpointError(f"config.json says {name} {config.get(name)!r}; it has to be a number above 0.", MEND)
    # Some families call them otherwise, DistilBERT "dim" and "n_heads".
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    if hidden and heads and hidden % heads:
        raise CheckpointError(
            f"config.json says hidden_size {hidden} and num_attention_heads {heads}, which does not divide it.", MEND
        )
    for name in _PROBABILITIES:
        if config.get(name) is not None and not 0 <= config[name] <= 1:
            raise CheckpointError(f"config.json says {name} {config[name]!r}; it has to be between 0 and 1.", MEND)
    epsilon = config.get("layer_norm_eps", 1e-12)
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise CheckpointError(f"config.json says layer_norm_eps {epsilon!r}; it has to be above 0.", MEND)
    if isinstance(config.get("hidden_act"), str) and config["hidden_act"] not in ACT2FN:
        raise CheckpointError(
            f"config.json says hidden_act {config['hidden_act']!r}, which transformers does not know.", MEND
        )
    padding = config.get("pad_token_id")
    if padding is not None and not 0 <= padding < config["vocab_size"]:
        raise CheckpointError(
            f"config.json says pad_token_id {padding}; the vocabulary has ids from 0 to {config['vocab_size'] - 1}.",
            MEND,
        )
    if family.usable_length(config) < _LEAST_LENGTH:
        raise CheckpointError(
            f"config.json says max_position_embeddings {config['max_position_embeddings']}, which leaves room for "
            f"{max(0, family.usable_length(config))} tokens; a text needs {_LEAST_LENGTH} at least.",
            MEND,
        )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(key: object) -> bool:
    return _is_int(key) or (isinstance(key, str) and key.strip().removeprefix("-").isdecimal())
