"""RoBERTa and DistilRoBERTa: positions that start behind the padding index, byte-level BPE, no token types.

Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", arXiv 1907.11692.
"""

from __future__ import annotations

from . import Config, Family, TokenizerRules, made_by


def _usable_length(config: Config) -> int:
    # The first real token sits at position pad_token_id + 1, so 514 rows of positions serve 512 tokens.
    return int(config["max_position_embeddings"]) - int(config["pad_token_id"]) - 1


def _full_size(hidden: int, layers: int, heads: int) -> Config:
    return {
        "model_type": "roberta",
        "architectures": ["RobertaForMaskedLM"],
        "vocab_size": 50265,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
        "hidden_act": "gelu",
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }


FAMILY = Family(
    name="roberta",
    model_type="roberta",
    recognises=made_by("roberta", "Roberta"),
    inputs=("input_ids", "attention_mask"),
    tokenizer=TokenizerRules("byte-bpe", lowercase=False),
    usable_length=_usable_length,
    owners=("FacebookAI", "distilbert"),
    architectures={
        "roberta-base": _full_size(hidden=768, layers=12, heads=12),
        "roberta-large": _full_size(hidden=1024, layers=24, heads=16),
        "distilroberta-base": _full_size(hidden=768, layers=6, heads=12),
    },
    tiny={
        "model_type": "roberta",
        "vocab_size": 500,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "hidden_act": "gelu",
        "max_position_embeddings": 66,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
)
