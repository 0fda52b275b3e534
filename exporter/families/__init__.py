"""The families: one file each, found by looking into this folder. A new family is one new file.

A family's file defines `FAMILY = Family(...)`; its name is the file's name. It knows no pass and no pipeline;
whatever is odd about it is handed over as data.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from ...runtime.errors import UnknownFamily, UnsupportedModel
from ...runtime.parity import SAME_MACHINE, Tolerance
from ...runtime.tasks import Task

__all__ = [
    "FP32",
    "MASKED_LM",
    "OWN_TOLERANCES",
    "TOLERANCES",
    "Config",
    "Family",
    "TokenizerRules",
    "find_architecture",
    "find_family",
    "is_bare_bert",
    "known_architectures",
    "known_families",
    "made_by",
    "recognise",
]

Config = Mapping[str, Any]
"""A checkpoint's config.json, with transformers' defaults filled in."""

FP32 = Tolerance(max_abs=1e-4, mean_abs=1e-5, cosine=0.999999, argmax=1.0)
"""What fp32 may differ by: typical differences are 1e-6 of the scale, an order below the mean allowed here."""

INT8 = Tolerance(max_abs=30.0, mean_abs=0.4, cosine=0.85, argmax=0.8)
"""What int8 may differ by on any input, random ids included, which no calibration has seen: MiniLM's last hidden state
is up to 14 times its scale off in one value, 0.26 in the mean. A graph that is wrong is far beyond it (its cosine
is near zero); what a right one costs is judged on texts."""

FP16 = Tolerance(max_abs=0.1, mean_abs=5e-3, cosine=0.9999, argmax=0.99)
BF16 = Tolerance(max_abs=0.6, mean_abs=4e-2, cosine=0.999, argmax=0.98)
"""Two to three times what MiniLM reaches: 3.9e-2 and 1.3e-3 in fp16, 3.2e-1 and 1.0e-2 in bf16 (largest and mean)."""

FP8 = Tolerance(max_abs=10.0, mean_abs=0.3, cosine=0.95, argmax=0.8)
"""MiniLM reaches 1.3, 6.5e-2 and 0.996; wide for the same reason as int8's."""

TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": FP32,
    "fp16": FP16,
    "bf16": BF16,
    "int8": INT8,
    "int8-dynamic": INT8,
    "fp8": FP8,
}
"""What each precision may differ from PyTorch's fp32 by, unless a family says otherwise."""

FLIPS = Tolerance(max_abs=3.0, mean_abs=0.15, cosine=0.99, argmax=0.0)
"""What int8 may differ by from its own values on another processor or engine. A float that is 1e-7 off falls on the
other side of a step now and then, which random ids amplify: MiniLM is 0.73, 0.05 and 0.9975 off itself where one
LayerNorm is 1e-5 larger, 0.58, 0.04 and 0.9984 in OpenVINO, and the same to the last bit with other threads."""

OWN_TOLERANCES: Mapping[str, Tolerance] = {SAME_MACHINE: FP32, "int8": FLIPS, "int8-dynamic": FLIPS}
"""What a variant may differ by from its own values, where they were made and elsewhere (docs/bundle.md)."""

MASKED_LM = ("fill-mask", "pretraining-heads")
"""The tasks whose head is a masked language model's, which has a LayerNorm of its own."""


@dataclass(frozen=True)
class TokenizerRules:
    """What to assume of a vocabulary that comes without a tokenizer.json.

    `algorithm` is also what a stand-in vocabulary for random weights is made with. `lowercase` holds only where
    the checkpoint says nothing itself.
    """

    algorithm: Literal["wordpiece", "byte-bpe", "unigram"]
    lowercase: bool


@dataclass(frozen=True)
class Family:
    """What one family of encoders is, as data.

    `recognises` is asked with the raw config.json. `prepare_config` fills in what checkpoints of this family are
    known to leave out. `usable_length` is the longest input in tokens, special tokens included. `layers` and
    `layer_norms` (config, task name) are what the exported graph is counted against. `tiny` is a configuration
    small enough for tests; `architectures` are the well-known full-size ones, by hub name without its owner;
    `owners` are the accounts that publish them, `embedders` those of them that are sentence encoders (mean pooling,
    normalised). `pooler` says whether the family's base model has a pooler at all. `objectives` are the tasks of its
    pre-training beside the masked language model's, and the outputs that each has.
    """

    name: str
    model_type: str
    recognises: Callable[[Config], bool]
    inputs: tuple[str, ...]
    tokenizer: TokenizerRules
    tiny: Config
    architectures: Mapping[str, Config]
    prepare_config: Callable[[Config], dict[str, Any]] = dict
    usable_length: Callable[[Config], int] = lambda config: int(config["max_position_embeddings"])
    layers: Callable[[Config], int] = lambda config: int(config["num_hidden_layers"])
    layer_norms: Callable[[Config, str], int] = lambda config, task: (
        1 + 2 * int(config["num_hidden_layers"]) + (task in MASKED_LM)
    )
    tolerances: Mapping[str, Tolerance] = field(default_factory=lambda: TOLERANCES)
    pooler: bool = True
    objectives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    owners: tuple[str, ...] = ()
    embedders: frozenset[str] = frozenset()

    def outputs(self, task: Task) -> tuple[str, ...]:
        """The outputs of `task`'s graph for this family. Raises UnsupportedModel for a task that it does not have."""
        if not task.objective:
            return tuple(name for name in task.outputs if name != "pooler_output" or self.pooler)
        if task.name not in self.objectives:
            others = ", ".join(family.name for family in known_families().values() if task.name in family.objectives)
            own = ", ".join(self.objectives) or "none but fill-mask"
            raise UnsupportedModel(
                f"{self.name} models were not pre-trained for {task.name}; {others} models are.",
                f"Choose another --task; {self.name}'s own objectives: {own}.",
            )
        return self.objectives[task.name]


_BERT_KEYS = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


def made_by(model_type: str, prefix: str) -> Callable[[Config], bool]:
    """A test of a raw config.json: its model_type, or where it has none, the prefix of its architectures."""

    def recognises(config: Config) -> bool:
        if "model_type" in config:
            return bool(config["model_type"] == model_type)
        return any(str(name).startswith(prefix) for name in config.get("architectures") or ())

    return recognises


def is_bare_bert(config: Config) -> bool:
    """Whether a raw config.json has BERT's keys and names neither a model type nor an architecture."""
    named = config.get("model_type") or config.get("architectures")
    return not named and "embedding_size" not in config and all(key in config for key in _BERT_KEYS)


@cache
def known_families() -> Mapping[str, Family]:
    """Every family by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: importlib.import_module(f"{__name__}.{name}").FAMILY for name in names}


def find_family(name: str) -> Family:
    """The family called `name`. Raises UnknownFamily, listing the known ones."""
    families = known_families()
    if name not in families:
        raise UnknownFamily(f"There is no family {name!r}.", f"Choose one of: {', '.join(families)}.")
    return families[name]


def recognise(config: Config) -> Family:
    """The family that recognises this raw config.json. Raises UnknownFamily when none does, or several do."""
    found = [family for family in known_families().values() if family.recognises(config)]
    if len(found) == 1:
        return found[0]
    what = f"model_type {config.get('model_type')!r}, architectures {config.get('architectures')!r}"
    names = ", ".join(family.name for family in found or known_families().values())
    if found:
        raise UnknownFamily(f"config.json ({what}) could be any of: {names}.", "Say which with --family.")
    raise UnknownFamily(
        f"config.json ({what}) belongs to no family that bvx knows ({names}).",
        "If it is one of these under another name, say which with --family.",
    )


def known_architectures() -> Mapping[str, tuple[Family, Config]]:
    """Every full-size architecture that a family lists: name -> (family, configuration)."""
    return {
        name: (family, config) for family in known_families().values() for name, config in family.architectures.items()
    }


def find_architecture(name: str) -> tuple[str, Family, Config]:
    """The full-size architecture called `name`, with or without the account that publishes it.

    Returns its bare name, its family and its configuration. Raises UnknownFamily, the closest names first.
    """
    owner, _, bare = name.rpartition("/")
    known = known_architectures()
    if bare in known and (not owner or owner in known[bare][0].owners):
        return (bare, *known[bare])
    close = difflib.get_close_matches(bare, known, n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    raise UnknownFamily(
        f"There is no known architecture {name!r} to fill with random weights.",
        f"{guess}Known: {', '.join(known)}.",
    )
