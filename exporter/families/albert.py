"""ALBERT: one layer used many times, a factorised embedding, tanh-GELU.

Lan et al., "ALBERT: A Lite BERT for Self-supervised Learning of Language Representations", arXiv 1909.11942.
"""

from __future__ import annotations

from . import MASKED_LM, Config, Family, TokenizerRules, made_by


def _layers(config: Config) -> int:
    # Every group runs all of its inner layers each time it is used.
    return int(config["num_hidden_layers"]) * int(config.get("inner_group_num", 1))


def _full_size(hidden: int, layers: int, heads: int) -> Config:
    return {
        "model_type": "albert",
        "architectures": ["AlbertForMaskedLM"],
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "hidden_act": "gelu_new",
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }


FAMILY = Family(
    name="albert",
    model_type="albert",
    recognises=made_by("albert", "Albert"),
    inputs=("input_ids", "attention_mask", "token_type_ids"),
    # The Chinese ALBERTs come with a WordPiece vocab.txt; the files present decide, this is only the stand-in.
    tokenizer=TokenizerRules("unigram", lowercase=True),
    layers=_layers,
    layer_norms=lambda config, task: 1 + 2 * _layers(config) + (task in MASKED_LM),
    objectives={
        "sentence-order-prediction": ("sop_logits",),
        "pretraining-heads": ("prediction_logits", "sop_logits"),
    },
    owners=("albert",),
    architectures={
        "albert-base-v2": _full_size(hidden=768, layers=12, heads=12),
        "albert-large-v2": _full_size(hidden=1024, layers=24, heads=16),
    },
    tiny={
        "model_type": "albert",
        "vocab_size": 500,
        "embedding_size": 16,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "hidden_act": "gelu_new",
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
)
