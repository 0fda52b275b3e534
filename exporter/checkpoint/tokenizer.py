"""A checkpoint's tokenizer, frozen into one tokenizer.json that says everything.

A tokenizer.json is taken as it is (with the lowercasing that tokenizer_config.json asks for, as transformers takes it);
older vocabularies are converted by transformers. Which kind it is follows from the files, never from the family.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import transformers

from ...runtime.errors import CheckpointError, UnsupportedModel
from ...runtime.manifest import TokenizerInfo
from ..families import Family
from .config import read_json

__all__ = ["FrozenTokenizer", "freeze", "freeze_folder"]

_SOURCES: tuple[tuple[tuple[str, ...], str, frozenset[str]], ...] = (
    (("spiece.model",), "AlbertTokenizer", frozenset({"Albert"})),
    (("vocab.json", "merges.txt"), "RobertaTokenizer", frozenset({"Roberta"})),
    (("vocab.txt",), "BertTokenizer", frozenset({"Bert", "Electra", "DistilBert", "MobileBert", "Albert"})),
)
"""Older vocabularies in order of preference: their files, the class that reads them, and its other names."""

_CLASSES = {"WordPiece": "BertTokenizer", "BPE": "RobertaTokenizer", "Unigram": "AlbertTokenizer"}
_KEYS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_USUAL = {
    "unk_token": ("[UNK]", "<unk>"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("[PAD]", "<pad>"),
    "cls_token": ("[CLS]", "<s>"),
    "mask_token": ("[MASK]", "<mask>"),
}
_LOWERCASING = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_MACHINE = (
    "auto_map",
    "name_or_path",
    "special_tokens_map_file",
    "tokenizer_file",
    "vocab_file",
    "is_local",
    "local_files_only",
)
_PROBES = ("A cat.", "Über 3,000 CAFÉS -- déjà vu?", "  two  spaces\ttab\n", "東京 “quoted” isn't", "U.S. (1) <a> [b]")


@dataclass(frozen=True)
class FrozenTokenizer:
    """The files of a tokenizer, as a bundle holds them, and how batches are made with it.

    `mask_token` and `mask_token_id` are None where the vocabulary has no such token. `cleans_up` says whether
    transformers takes out the spaces before punctuation when it decodes.
    """

    files: Mapping[str, bytes]
    info: TokenizerInfo
    mask_token: str | None
    mask_token_id: int | None
    cleans_up: bool = False


def freeze_folder(
    folder: Path, config: Mapping[str, Any], family: Family, *, max_length: int, lowercase_first: bool = False
) -> FrozenTokenizer:
    """The folder's tokenizer. `config` is the whole configuration; `lowercase_first` lowercases every text before.

    Raises CheckpointError and UnsupportedModel.
    """
    settings = _read_settings(folder)
    if (folder / "tokenizer.json").is_file():
        tokenizer = _read_fast(folder / "tokenizer.json", settings)
    else:
        tokenizer = _convert(folder, settings, family)
    if lowercase_first:
        tokenizer.normalizer = _after_lowercasing(tokenizer.normalizer)
    return freeze(tokenizer, settings, config, inputs=family.inputs, max_length=max_length)


def freeze(
    tokenizer: tokenizers.Tokenizer,
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    inputs: Sequence[str],
    max_length: int,
    standin: bool = False,
) -> FrozenTokenizer:
    """The files and facts of a tokenizer in memory; `settings` are tokenizer_config.json's, `inputs` the model's."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if isinstance(tokenizer.model, tokenizers.models.BPE):
        tokenizer.model.dropout = None  # Merges left out at random are for training.
    _check_size(tokenizer, config)
    special = _special_tokens(tokenizer, settings, config)
    content = tokenizer.to_str()
    files = {"tokenizer.json": content.encode(), "special_tokens_map.json": _json(special)}
    limit = min(int(min(settings.get("model_max_length") or max_length, max_length)), max_length)
    kept = {key: value for key, value in settings.items() if key not in (*_MACHINE, *_KEYS, "added_tokens_decoder")}
    # Said outright: for ALBERT, transformers 5 leaves the token types out, which the model was trained with.
    names = [name for name in ("input_ids", "token_type_ids", "attention_mask") if name in inputs]
    kept |= {**special, "model_input_names": names, "model_max_length": limit}
    kept["tokenizer_class"] = _class_name(settings, content)
    files["tokenizer_config.json"] = _json(kept)
    if not _reads_back(files, tokenizer):
        # The named class would rebuild the pipeline by its own lights; this one takes tokenizer.json as it is.
        files["tokenizer_config.json"] = _json({**kept, "tokenizer_class": "PreTrainedTokenizerFast"})
    mask = special.get("mask_token")
    info = TokenizerInfo(
        pad_token=special["pad_token"],
        pad_id=tokenizer.get_vocab()[special["pad_token"]],
        pad_type_id=int(settings.get("pad_token_type_id") or 0),
        padding_side="left" if settings.get("padding_side") == "left" else "right",
        standin=standin,
    )
    # For byte-level vocabularies transformers ignores the setting: their spaces are part of the tokens.
    cleans_up = bool(settings.get("clean_up_tokenization_spaces")) and json.loads(content)["model"]["type"] != "BPE"
    return FrozenTokenizer(files, info, mask, tokenizer.token_to_id(mask) if mask else None, cleans_up)


def _read_settings(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json with the special tokens that special_tokens_map.json adds, as plain strings."""
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            settings |= {key: value for key, value in read_json(folder / name).items() if value is not None}
    if settings.get("auto_map"):
        raise UnsupportedModel(
            "tokenizer_config.json asks for code that comes with the checkpoint (auto_map); bvx never runs such code.",
            "Export a checkpoint whose tokenizer transformers itself implements.",
        )
    for key in _KEYS:
        if isinstance(settings.get(key), Mapping):
            settings[key] = settings[key].get("content")
    return settings


def _read_fast(path: Path, settings: Mapping[str, Any]) -> tokenizers.Tokenizer:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        normalizer = content.get("normalizer") or {}
        if normalizer.get("type") == "BertNormalizer":
            normalizer |= {ours: settings[key] for key, ours in _LOWERCASING.items() if key in settings}
        return tokenizers.Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise CheckpointError(f"{path} is not a tokenizer: {error}.", "Download the checkpoint again.") from error


def _convert(folder: Path, settings: dict[str, Any], family: Family) -> tokenizers.Tokenizer:
    for names, class_name, passes_as in _SOURCES:
        if not all((folder / name).is_file() for name in names):
            continue
        named = str(settings.get("tokenizer_class") or class_name).removesuffix("Fast")
        if named.removesuffix("Tokenizer") not in passes_as:
            raise UnsupportedModel(
                f"The vocabulary {' and '.join(names)} belongs to a {named}, which bvx cannot convert.",
                "Save the tokenizer as tokenizer.json where its own code is at hand, and put that into the folder.",
            )
        if class_name != "RobertaTokenizer":
            settings.setdefault("do_lower_case", family.tokenizer.lowercase)
        settings["tokenizer_class"] = named if named != "AlbertTokenizer" else class_name
        return _by_transformers(folder, names, class_name, settings)
    raise CheckpointError(
        f"{folder} has no tokenizer: wanted tokenizer.json, spiece.model, vocab.json with merges.txt, or vocab.txt.",
        "Add the tokenizer's files to the folder (they usually lie beside the model on the hub).",
    )


def _by_transformers(
    folder: Path, names: tuple[str, ...], class_name: str, settings: Mapping[str, Any]
) -> tokenizers.Tokenizer:
    options = {"do_lower_case": settings["do_lower_case"]} if "do_lower_case" in settings else {}
    try:
        made = getattr(transformers, class_name).from_pretrained(folder, local_files_only=True, **options)
    except ImportError as error:
        raise CheckpointError(
            f"{folder / names[0]} needs a library that is not installed: {error}.", "pip install sentencepiece protobuf"
        ) from error
    except Exception as error:  # damaged vocabularies raise errors of many libraries
        raise CheckpointError(
            f"{' and '.join(names)} in {folder} cannot be read: {error}.", "Download the checkpoint again."
        ) from error
    return tokenizers.Tokenizer.from_str(made.backend_tokenizer.to_str())


def _after_lowercasing(normalizer: Any) -> Any:
    lowercase = tokenizers.normalizers.Lowercase()
    return lowercase if normalizer is None else tokenizers.normalizers.Sequence([lowercase, normalizer])


def _check_size(tokenizer: tokenizers.Tokenizer, config: Mapping[str, Any]) -> None:
    largest, rows = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1), int(config["vocab_size"])
    if largest >= rows:
        raise CheckpointError(
            f"The vocabulary's ids go up to {largest}; the embedding table has {rows} rows.",
            "Tokenizer and weights are of different models; get both from the same place.",
        )


def _special_tokens(
    tokenizer: tokenizers.Tokenizer, settings: Mapping[str, Any], config: Mapping[str, Any]
) -> dict[str, str]:
    """Every special token that the vocabulary has: as the checkpoint names it, or else under its usual names."""

    def first(names: Iterable[Any]) -> str | None:
        return next((name for name in names if name and tokenizer.token_to_id(name) is not None), None)

    found = {key: first((settings.get(key), *_USUAL.get(key, ()))) for key in _KEYS}
    pad_id = config.get("pad_token_id")
    if found["pad_token"] is None and pad_id is not None:
        found["pad_token"] = tokenizer.id_to_token(int(pad_id))
    if found["pad_token"] is None:
        raise CheckpointError(
            "The vocabulary has no padding token.", "Name it in tokenizer_config.json (pad_token), or in config.json."
        )
    return {key: token for key, token in found.items() if token is not None}


def _class_name(settings: Mapping[str, Any], content: str) -> str:
    """A class name that every transformers and transformers.js knows."""
    named = str(settings.get("tokenizer_class") or "")
    if named and named not in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        return named.removesuffix("Fast")
    by_model = _CLASSES.get(json.loads(content)["model"]["type"], "PreTrainedTokenizerFast")
    return "PreTrainedTokenizerFast" if named else by_model


def _reads_back(files: Mapping[str, bytes], tokenizer: tokenizers.Tokenizer) -> bool:
    """Whether transformers, opening these files, tokenises as `tokenizer` does."""
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        try:
            class_name = json.loads(files["tokenizer_config.json"])["tokenizer_class"]
            opened = getattr(transformers, class_name).from_pretrained(folder, local_files_only=True)
            return all(opened(text)["input_ids"] == tokenizer.encode(text).ids for text in _PROBES)
        except Exception:  # noqa: BLE001 - a class that cannot read the files is answered like one that differs
            return False


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
