"""ELECTRA: generators and discriminators, without a pooler, sometimes with a smaller embedding than hidden size.

Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", arXiv 2003.10555.
"""

from __future__ import annotations

from . import Config, Family, TokenizerRules, made_by


def _full_size(
    embedding: int,
    hidden: int,
    layers: int,
    heads: int,
    intermediate: int,
    architecture: str = "ElectraForPreTraining",
) -> Config:
    return {
        "model_type": "electra",
        "architectures": [architecture],
        "vocab_size": 30522,
        "embedding_size": embedding,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "hidden_act": "gelu",
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    }


FAMILY = Family(
    name="electra",
    model_type="electra",
    recognises=made_by("electra", "Electra"),
    inputs=("input_ids", "attention_mask", "token_type_ids"),
    tokenizer=TokenizerRules("wordpiece", lowercase=True),
    pooler=False,
    objectives={"replaced-token-detection": ("logits",)},
    owners=("google",),
    architectures={
        "electra-small-discriminator": _full_size(128, 256, layers=12, heads=4, intermediate=1024),
        "electra-base-discriminator": _full_size(768, 768, layers=12, heads=12, intermediate=3072),
        "electra-large-discriminator": _full_size(1024, 1024, layers=24, heads=16, intermediate=4096),
        "electra-small-generator": _full_size(
            128, 256, layers=12, heads=4, intermediate=1024, architecture="ElectraForMaskedLM"
        ),
    },
    tiny={
        "model_type": "electra",
        "vocab_size": 500,
        "embedding_size": 16,
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
