"""What a sentence-transformers checkpoint does beyond its encoder: modules.json and what it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ...runtime.errors import CheckpointError, UnsupportedModel
from .config import read_json

__all__ = ["Modules", "plain_modules", "read_modules"]

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The older form of 1_Pooling/config.json, in the order in which sentence-transformers joins several of them."""

_SETTINGS = "config_sentence_transformers.json"
_KEPT = ("modules.json", "sentence_bert_config.json", _SETTINGS)
_SIGMOID = "torch.nn.modules.activation.Sigmoid"


@dataclass(frozen=True)
class Modules:
    """What modules.json says: where the encoder lies (relative), how to pool, whether to normalise.

    `lowercase` is sentence_bert_config.json's do_lower_case: texts are lowercased before they are tokenised;
    `max_length` its max_seq_length, the length in tokens that sentence-transformers cuts texts to, where it says one.
    `files` are the files to keep, by their path in the bundle. A cross-encoder pools nothing; `activation` is the class
    that it applies to its logits, None for what is no cross-encoder.
    """

    transformer: str
    pooling: tuple[str, ...]
    normalize: bool
    lowercase: bool = False
    max_length: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    activation: str | None = None

    @property
    def head(self) -> dict[str, Any]:
        return {"pooling": list(self.pooling), "normalize": self.normalize}


def read_modules(root: Path, *, whole: bool = True) -> Modules:
    """What the folder's modules.json says, or where not `whole` of its encoder alone, whatever follows it.

    Raises CheckpointError, and UnsupportedModel for modules bvx cannot do.
    """
    entries, kinds = _read_chain(root)
    settings = read_json(root / _SETTINGS) if (root / _SETTINGS).is_file() else {}
    names = [kind for kind, _ in kinds]
    transformer = root / kinds[0][1]
    bert = transformer / "sentence_bert_config.json"
    own = read_json(bert) if bert.is_file() else {}
    lowercase, longest = bool(own.get("do_lower_case")), own.get("max_seq_length")
    encoder = Modules(kinds[0][1], (), False, lowercase, int(longest) if longest else None)
    if not whole:
        return encoder
    _refuse_prompts(settings)
    if names == ["Transformer"] and settings.get("model_type") == "CrossEncoder":
        return replace(encoder, activation=str(settings.get("activation_fn") or _SIGMOID))
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise UnsupportedModel(
            f"modules.json chains {' > '.join(names)}; bvx knows Transformer > Pooling, with Normalize or without.",
            "Export the encoder alone with --task feature-extraction.",
        )
    pooling = root / kinds[1][1] / "config.json"
    files = {name: (root / name).read_bytes() for name in _KEPT if (root / name).is_file()}
    if bert.is_file():
        files["sentence_bert_config.json"] = bert.read_bytes()
    files[pooling.relative_to(root).as_posix()] = pooling.read_bytes() if pooling.is_file() else b"{}"
    if kinds[0][1]:
        files["modules.json"] = _flattened(entries)
    return replace(encoder, pooling=_pooling(read_json(pooling), pooling), normalize="Normalize" in names, files=files)


def _read_chain(root: Path) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """modules.json, and of each module in it the kind and the folder."""
    try:
        entries = json.loads((root / "modules.json").read_text(encoding="utf-8"))
        kinds = [(str(entry["type"]).rpartition(".")[2], str(entry.get("path", ""))) for entry in entries]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{root / 'modules.json'} cannot be read: {error}.", "Download it again.") from error
    if not kinds or kinds[0][0] != "Transformer":
        raise UnsupportedModel(
            f"modules.json chains {' > '.join(kind for kind, _ in kinds) or 'nothing'}; bvx exports chains that begin "
            "with a Transformer.",
            "Pass the folder of its encoder, if it has one.",
        )
    for _, path in kinds:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise CheckpointError(f"modules.json names a folder outside the checkpoint: {path}.", "Do not trust it.")
    return entries, kinds


def plain_modules(hidden_size: int, max_length: int, *, normalize: bool) -> Modules:
    """Mean pooling, for an encoder that comes without modules.json: sentence-transformers' own default."""
    kinds = ["Transformer", "Pooling"] + ["Normalize"] * normalize
    entries = [
        {"idx": index, "name": str(index), "path": f"{index}_{kind}" if index else "", "type": _type(kind)}
        for index, kind in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": hidden_size} | {flag: mode == "mean" for flag, mode in _FLAGS.items()}
    files = {
        "modules.json": _json(entries),
        "1_Pooling/config.json": _json(pooling),
        "sentence_bert_config.json": _json({"max_seq_length": max_length, "do_lower_case": False}),
    }
    return Modules("", ("mean",), normalize, files=files)


def _pooling(settings: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    mode = settings.get("pooling_mode")
    if isinstance(mode, str):
        modes = tuple(mode.split("+"))
    elif isinstance(mode, list):
        modes = tuple(str(each) for each in mode)
    else:
        modes = tuple(name for flag, name in _FLAGS.items() if settings.get(flag))
    unknown = [mode for mode in modes if mode not in _FLAGS.values()]
    if unknown or not modes:
        raise UnsupportedModel(
            f"{path} asks for {' and '.join(unknown) or 'no'} pooling; bvx knows {', '.join(_FLAGS.values())}.",
            "Export the encoder alone with --task feature-extraction.",
        )
    return modes


def _refuse_prompts(settings: Mapping[str, Any]) -> None:
    name = settings.get("default_prompt_name")
    if name and (settings.get("prompts") or {}).get(name):
        raise UnsupportedModel(
            f"The checkpoint puts the prompt {name!r} before every text, and a bundle has no place for prompts.",
            "Export the encoder alone with --task feature-extraction, and put the prompt before the texts yourself.",
        )


def _flattened(entries: list[dict[str, Any]]) -> bytes:
    # The bundle's encoder lies at its root, whichever folder the checkpoint kept it in.
    return _json([{**entries[0], "path": ""}, *entries[1:]])


def _type(kind: str) -> str:
    return f"sentence_transformers.models.{kind}"


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
