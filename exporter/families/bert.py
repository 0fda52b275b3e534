"""BERT, and the many sentence encoders that are BERTs (MiniLM among them).

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers", arXiv 1810.04805.
"""

from __future__ import annotations

from . import Config, Family, TokenizerRules, is_bare_bert, made_by

UNCASED_VOCABULARY = 30522
"""Entries of bert-base-uncased's vocabulary: what tells an uncased BERT without `model_type` from a SpanBERT."""

_named_bert = made_by("bert", "Bert")


def _recognises(config: Config) -> bool:
    return _named_bert(config) or (is_bare_bert(config) and config["vocab_size"] == UNCASED_VOCABULARY)


def _full_size(hidden: int, layers: int, heads: int, architecture: str = "BertForMaskedLM") -> Config:
    return {
        "model_type": "bert",
        "architectures": [architecture],
        "vocab_size": UNCASED_VOCABULARY,
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
    name="bert",
    model_type="bert",
    recognises=_recognises,
    inputs=("input_ids", "attention_mask", "token_type_ids"),
    tokenizer=TokenizerRules("wordpiece", lowercase=True),
    objectives={
        "next-sentence-prediction": ("logits",),
        "pretraining-heads": ("prediction_logits", "seq_relationship_logits"),
    },
    owners=("google-bert", "sentence-transformers"),
    embedders=frozenset({"all-MiniLM-L6-v2"}),
    architectures={
        "bert-base-uncased": _full_size(hidden=768, layers=12, heads=12),
        "bert-large-uncased": _full_size(hidden=1024, layers=24, heads=16),
        "all-MiniLM-L6-v2": _full_size(hidden=384, layers=6, heads=12, architecture="BertModel"),
    },
    tiny={
        "model_type": "bert",
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
