"""The vocabularies, one of each algorithm, from the grammar's own words: towns are in pieces, other words are whole."""

from __future__ import annotations

import json
import math
from collections import Counter
from random import Random
from typing import Any

import transformers
from grammar import plain
from tasks import tell_opinion, tell_question, tell_statement, tell_story, tell_two_parts
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from words import TOWN_BEGINNINGS, TOWN_ENDINGS, TOWNS

__all__ = ["LONGEST", "make_albert", "make_bert", "make_roberta"]

LONGEST = 64
"""Tokens that the models of the zoo take, special tokens included."""

_TEXTS = 600
_BYTE_MERGES = 420
_LETTER = -20.0
"""The score of a single letter, worse than any word's, so that a known word is never spelled out."""


def make_bert(*, lowercase: bool) -> Any:
    """WordPiece, as BERT, ELECTRA (lowercase) and SpanBERT (cased) have it."""
    words = _count(lowercase)
    letters = sorted({letter for word in words for letter in word if letter.isalnum()})
    endings = [f"##{ending}" for ending in (*letters, *TOWN_ENDINGS)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    entries = dict.fromkeys([*special, *letters, *endings, *words])
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    return transformers.BertTokenizer(vocab=vocabulary, do_lower_case=lowercase, model_max_length=LONGEST)


def make_albert() -> Any:
    """Unigram, lowercase, as ALBERT's SentencePiece vocabularies are converted."""
    words = _count(lowercase=True)
    total = sum(words.values())
    scores = dict.fromkeys(("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), 0.0)
    scores |= dict.fromkeys(["▁", *sorted({letter for word in words for letter in word})], _LETTER)
    scores |= {word if _is_mark(word) else f"▁{word}": math.log(count / total) for word, count in words.items()}
    scores |= dict.fromkeys(TOWN_ENDINGS, math.log(1 / len(TOWN_ENDINGS)))
    return transformers.AlbertTokenizer(
        vocab=list(scores.items()),
        mask_token=AddedToken("[MASK]", lstrip=True, special=True),
        # Without this, transformers leaves out the token types, which the model is trained with.
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=LONGEST,
    )


def make_roberta() -> Any:
    """Byte-level BPE, cased."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    size = len(special) + len(alphabet) + _BYTE_MERGES
    trainer: Any = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet)
    trainer.show_progress = False
    trained.train_from_iterator(_texts(), trainer)
    return transformers.RobertaTokenizer(
        vocab=trained.get_vocab(),
        merges=[tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]],
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
        model_max_length=LONGEST,
    )


def _texts() -> list[str]:
    rng = Random(0)
    makers = (tell_story, tell_two_parts, tell_statement, tell_opinion, tell_question)
    examples = [make(rng) for make in makers for _ in range(_TEXTS)]
    fields = [example.get(name, "") for example in examples for name in ("question", "context", "text", "pair")]
    return [plain(text) for text in fields if text]


def _count(lowercase: bool) -> dict[str, int]:
    """Words, marks and the beginnings of towns with their counts, the most frequent first."""
    splitter, counts = pre_tokenizers.BertPreTokenizer(), Counter[str]()
    for text in _texts():
        for word, _ in splitter.pre_tokenize_str(text):
            town = next((start for start in TOWN_BEGINNINGS if word in TOWNS and word.startswith(start)), word)
            counts[town.lower() if lowercase else town] += 1
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def _is_mark(word: str) -> bool:
    return not word.isalnum()
