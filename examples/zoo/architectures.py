"""The configurations: each family's own, but small; and how the weights begin."""

from __future__ import annotations

import math
from typing import Any

import torch
import transformers
from torch import nn
from vocabularies import LONGEST

__all__ = ["albert", "bert", "electra", "prepare", "roberta"]

# Every example is new, so nothing can be learned by heart, and nothing has to be dropped.
_SHARED: dict[str, Any] = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.08,
}


def albert(tokenizer: Any, labels: tuple[str, ...] = ()) -> transformers.AlbertConfig:
    """One layer, used three times."""
    return transformers.AlbertConfig(
        **_SHARED,
        **_labels(labels),
        vocab_size=len(tokenizer),
        embedding_size=48,
        hidden_size=96,
        num_hidden_layers=3,
        num_hidden_groups=1,
        inner_group_num=1,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LONGEST,
        classifier_dropout_prob=0.0,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )


def roberta(tokenizer: Any, labels: tuple[str, ...] = (), layers: int = 3) -> transformers.RobertaConfig:
    return transformers.RobertaConfig(
        **_SHARED,
        **_labels(labels),
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=192,
        # Positions begin behind the padding's.
        max_position_embeddings=LONGEST + 2,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def electra(tokenizer: Any, *, generator: bool) -> transformers.ElectraConfig:
    """Embeddings of a width of their own; a generator is smaller than its discriminator (arXiv 2003.10555)."""
    hidden = 32 if generator else 64
    return transformers.ElectraConfig(
        **_SHARED,
        vocab_size=len(tokenizer),
        embedding_size=48,
        hidden_size=hidden,
        num_hidden_layers=2 if generator else 3,
        num_attention_heads=4,
        intermediate_size=3 * hidden,
        max_position_embeddings=LONGEST,
        pad_token_id=0,
    )


def bert(tokenizer: Any) -> transformers.BertConfig:
    return transformers.BertConfig(
        **_SHARED,
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=LONGEST,
        pad_token_id=0,
    )


@torch.no_grad()
def prepare(model: nn.Module) -> None:
    """Begin with what small models are slow to find, in place.

    Positions are sinusoids (arXiv 1706.03762, section 3.5), so that neighbours are like each other; and keys are the
    queries' equals, so that tokens attend to their like.
    """
    for module in model.modules():
        if hasattr(module, "query") and hasattr(module, "key"):
            module.key.weight.copy_(module.query.weight)
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, nn.Embedding):
            size = table.embedding_dim
            rates = torch.exp(-math.log(10_000.0) * torch.arange(0, size, 2) / size)
            angles = torch.arange(table.num_embeddings)[:, None] * rates
            table.weight.copy_(torch.cat([angles.sin(), angles.cos()], dim=1) * _SHARED["initializer_range"])


def _labels(labels: tuple[str, ...]) -> dict[str, Any]:
    if not labels:
        return {}
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}
