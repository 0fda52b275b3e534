"""Random weights and a vocabulary to go with them, without a download: for planning latency and memory, and tests."""

from __future__ import annotations

import math
from collections import Counter
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
_RARE = -20.0
"""The score of a single character: worse than any word's, so that a known word is never spelled out."""


def make_random_model(
    config: transformers.PretrainedConfig, task: Task, seed: int, *, with_pooler: bool = True
) -> torch.nn.Module:
    """The model for `task` with transformers' own initialisation, the same for the same seed.

    `with_pooler` False makes a base model without the pooler that its class would give it. Biases and LayerNorm
    parameters get a little noise as well: left at zero and one, two of them could be swapped without anybody noticing.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {} if with_pooler else {"add_pooling_layer": False}
        model = model_class(task).from_config(config, attn_implementation="sdpa", dtype=torch.float32, **options)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=_NOISE)
    return settle(model, task)


def make_tokenizer(family: Family, config: Mapping[str, Any], *, max_length: int) -> FrozenTokenizer:
    """A vocabulary of the family's algorithm, taken from the built-in texts, within the configuration's size.

    Always the same for the same configuration.
    """
    makers = {"wordpiece": _wordpiece, "byte-bpe": _byte_bpe, "unigram": _unigram}
    size = min(int(config["vocab_size"]), _LARGEST)
    tokenizer = makers[family.tokenizer.algorithm](size, family.tokenizer.lowercase, config)
    settings: dict[str, Any] = {"model_max_length": max_length}
    if family.tokenizer.algorithm != "byte-bpe":
        settings["do_lower_case"] = family.tokenizer.lowercase
    return freeze(tokenizer, settings, config, inputs=family.inputs, max_length=max_length, standin=True)


# WordPiece and Unigram vocabularies are counted here, because the library's trainers give another one every time.


def _wordpiece(size: int, lowercase: bool, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    normalizer, splitter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    special = _ordered(_BERT_TOKENS, "[PAD]", config)
    words, letters = _count(normalizer, splitter)
    spelling = [form for letter in letters[: size // 5] for form in (letter, f"##{letter}")]
    entries = list(dict.fromkeys([*special, *spelling, *words]))[:size]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = _template(special, "[CLS]", "[SEP]")
    return tokenizer


def _unigram(size: int, lowercase: bool, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    steps: list[Any] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    steps += [normalizers.NFKD(), normalizers.StripAccents()] + [normalizers.Lowercase()] * lowercase
    normalizer: Any = normalizers.Sequence(steps)
    splitter: Any = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    special = _ordered(_ALBERT_TOKENS, "<pad>", config)
    words, letters = _count(normalizer, splitter)
    scores = dict.fromkeys(special, 0.0) | dict.fromkeys(letters[: size // 2], _RARE)
    total = sum(words.values())
    scores |= {word: math.log(count / total) for word, count in words.items() if word not in scores}
    pieces = list(scores.items())[:size]
    tokenizer = tokenizers.Tokenizer(models.Unigram(pieces, special.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = _template(special, "[CLS]", "[SEP]")
    return tokenizer


def _byte_bpe(size: int, lowercase: bool, config: Mapping[str, Any]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = _ordered(_ROBERTA_TOKENS, "<pad>", config)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer: Any = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet)
    trainer.show_progress = False
    tokenizer.train_from_iterator(builtin_texts(), trainer)
    last, first = ("</s>", special.index("</s>")), ("<s>", special.index("<s>"))
    tokenizer.post_processor = processors.RobertaProcessing(last, first, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def _count(normalizer: Any, splitter: Any) -> tuple[dict[str, int], list[str]]:
    """The built-in texts' words with their counts, and their letters; the most frequent first."""
    words: Counter[str] = Counter()
    for text in builtin_texts():
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count

    def order(entry: tuple[str, int]) -> tuple[int, str]:
        return -entry[1], entry[0]

    return dict(sorted(words.items(), key=order)), [letter for letter, _ in sorted(letters.items(), key=order)]


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


def _template(special: Sequence[str], first: str, last: str) -> Any:
    return processors.TemplateProcessing(
        single=f"{first}:0 $A:0 {last}:0",
        pair=f"{first}:0 $A:0 {last}:0 $B:1 {last}:1",
        special_tokens=[(first, special.index(first)), (last, special.index(last))],
    )
