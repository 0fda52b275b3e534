"""What to type once a bundle is made: commands that can be pasted, with words that show what its task is about."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from ..runtime.manifest import Manifest

__all__ = ["list_next_steps"]

_EXAMPLES: dict[str, tuple[str, ...]] = {
    "sentence-similarity": ("How do I reset my password?", "I forgot my login."),
    "token-classification": ("Ada Lovelace lived in London.",),
    "question-answering": ("Where did Ada live?", "--pair", "Ada Lovelace was born in London and lived there."),
    "text-ranking": ("How many people live in Berlin?", "--pair", "Berlin has 3.7 million inhabitants."),
    "sentence-order-prediction": ("She opened the door.", "--pair", "Then she went in."),
    "next-sentence-prediction": ("She opened the door.", "--pair", "Then she went in."),
}
"""Words for `bvx run`; other tasks take any sentence."""

_ANY = "A sentence of your own."
_TWO = ("A man is eating.", "--pair", "Somebody eats.")

_OF_PAIRS = {"entailment", "contradiction", "paraphrase", "equivalent", "duplicate"}
"""Words in the labels of models that were trained on pairs (MNLI, RTE, QNLI; PAWS; MRPC; QQP)."""


def list_next_steps(manifest: Manifest, out: Path) -> list[str]:
    """`bvx run` with an example, where words can say one, and `bvx verify`, for the bundle in `out`.

    A bundle that a GPU alone serves is inspected and built for here; what else there is to type is for that machine.
    """
    # What begins with a dash would be read as an option.
    folder = f"./{out}" if str(out).startswith("-") else str(out)
    targets = {variant.target for variant in manifest.variants}
    if "cpu" not in targets:
        is_open = "tensorrt" in targets and not manifest.engines
        building = [["bvx", "build", folder, "--engine", "tensorrt-rtx"]] if is_open else []
        return [shlex.join(words) for words in [["bvx", "inspect", folder], *building]]
    commands = [["bvx", "verify", folder]]
    # Each choice of a multiple choice is a text of its own, which is more than an example shows.
    if manifest.tokenizer and manifest.task != "multiple-choice":
        commands.insert(0, ["bvx", "run", folder, *_example(manifest)])
    return [shlex.join(words) for words in commands]


def _example(manifest: Manifest) -> tuple[str, ...]:
    mask = manifest.head.get("mask_token")
    pair = ("--pair", _ANY) if manifest.task == "pretraining-heads" else ()
    if mask:
        return (f"Paris is the {mask} of France.", *pair)
    if manifest.task == "text-classification" and _judges_pairs(manifest.head.get("labels") or ()):
        return _TWO
    return _EXAMPLES.get(manifest.task, (_ANY,))


def _judges_pairs(labels: Iterable[object]) -> bool:
    words = {word for label in labels for word in str(label).lower().replace("-", "_").split("_")}
    return not words.isdisjoint(_OF_PAIRS)
