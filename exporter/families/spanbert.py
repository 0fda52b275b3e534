"""SpanBERT: BERT's body; its config.json names no model type, its vocabulary is cased and comes without settings.

Joshi et al., "SpanBERT: Improving Pre-training by Representing and Predicting Spans", arXiv 1907.10529.
"""

from __future__ import annotations

from typing import Any

from . import Config, Family, TokenizerRules, is_bare_bert
from .bert import UNCASED_VOCABULARY


def _recognises(config: Config) -> bool:
    return is_bare_bert(config) and config["vocab_size"] != UNCASED_VOCABULARY


def _prepare_config(config: Config) -> dict[str, Any]:
    return {**config, "model_type": "bert"}


def _full_size(hidden: int, layers: int, heads: int) -> Config:
    return {
        "vocab_size": 28996,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "hidden_act": "gelu",
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


FAMILY = Family(
    name="spanbert",
    model_type="bert",
    recognises=_recognises,
    prepare_config=_prepare_config,
    inputs=("input_ids", "attention_mask", "token_type_ids"),
    tokenizer=TokenizerRules("wordpiece", lowercase=False),
    owners=("SpanBERT",),
    architectures={
        "spanbert-base-cased": _full_size(hidden=768, layers=12, heads=12),
        "spanbert-large-cased": _full_size(hidden=1024, layers=24, heads=16),
    },
    tiny={
        "vocab_size": 500,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "hidden_act": "gelu",
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    },
)
