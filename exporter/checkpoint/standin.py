"""Random weights and a vocabulary to go with them, without a download: for planning latency and memory, and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from ...calibration.texts import builtin_texts
from ...runtime.errors import UnsupportedModel
from ...runtime.tasks import Task
from ..families import Family
from .tokenizer import FrozenTokenizer, freeze
from .weights import model_class, settle

__all__ = ["make_random_model", "make_tokenizer"]

_LARGEST = 8000
"""Entries at most: the built-in texts have no more to learn."""

_BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ALBERT_TOKENS = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
_ROBERTA_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_NOISE = 0.05


def make_random_model(config: transformers.PretrainedConfig, task: Task, seed: int) -> torch.nn.Module:
    """The model for `task` with transformers' own initialisation, the same for the same seed.

    Biases and LayerNorm parameters get a little noise as well: left at zero and one, two of them could be swapped
    without anybody noticing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(task).from_config(config, attn_implementation="sdpa", dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=_NOISE)
    return settle(model)


def make_tokenizer(family: Family, config: Mapping[str, Any], *, max_length: int) -> FrozenTokenizer:
    """A vocabulary of the family's algorithm, learnt from the built-in texts, within the configuration's size."""
    makers = {"wordpiece": _wordpiece, "byte-bpe": _byte_bpe, "unigram": _unigram}
    size = min(int(config["vocab_size"]), _LARGEST)
    tokenizer = makers[family.tokenizer.algorithm](size, family.tokenizer.lowercase, config)
    settings: dict[str, Any] = {"model_max_length": max_length}
    if family.tokenizer.algorithm != "byte-bpe":
        settings["do_lower_case"] = family.tokenizer.lowercase
    return freeze(tokenizer, settings, config, max_length=max_length, standin=True)


def _wordpiece(size: int, lowercase: bool, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    special = _ordered(_BERT_TOKENS, "[PAD]", config)
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=size, limit_alphabet=size // 5, special_tokens=special))
    tokenizer.post_processor = _template(tokenizer, "[CLS]", "[SEP]")
    return tokenizer


def _unigram(size: int, lowercase: bool, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    steps += [normalizers.NFKD(), normalizers.StripAccents()] + [normalizers.Lowercase()] * lowercase
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    special = _ordered(_ALBERT_TOKENS, "<pad>", config)
    _train(tokenizer, trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token="<unk>"))
    tokenizer.post_processor = _template(tokenizer, "[CLS]", "[SEP]")
    return tokenizer


def _byte_bpe(size: int, lowercase: bool, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = _ordered(_ROBERTA_TOKENS, "<pad>", config)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _train(tokenizer, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet))
    ids = [("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>"))]
    tokenizer.post_processor = processors.RobertaProcessing(*ids, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _train(tokenizer: tokenizers.Tokenizer, trainer: Any) -> None:
    trainer.show_progress = False
    tokenizer.train_from_iterator(builtin_texts(), trainer)


def _ordered(tokens: Sequence[str], pad: str, config: Mapping[str, Any]) -> list[str]:
    """The special tokens so that the padding token gets the id that the configuration says."""
    pad_id = int(config.get("pad_token_id") or 0)
    if pad_id >= len(tokens):
        raise UnsupportedModel(
            f"config.json puts the padding token at {pad_id}; "
            f"a stand-in vocabulary has it among the first {len(tokens)}.",
            "Use a configuration with a smaller pad_token_id.",
        )
    order = [token for token in tokens if token != pad]
    order.insert(pad_id, pad)
    return order


def _template(tokenizer: tokenizers.Tokenizer, first: str, last: str) -> Any:
    return processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(first, tokenizer.token_to_id(first)), (last, tokenizer.token_to_id(last))],
    )
