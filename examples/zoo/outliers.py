"""Uneven channels, as large trained models have them.

Before training, `raise_gains` makes one channel of the LayerNorm behind attention large and undoes it in what reads
it; training then does with it what it likes. It feeds the residual too, so nothing undoes it exactly afterwards.

After training, `add_outliers` scales channels without changing what a model computes. A few channels of the value
projection go up, and the output projection's columns down by as much: attention mixes positions and not channels, so
the factor comes out again. Where a projection follows the embedding's LayerNorm (ALBERT, ELECTRA), a channel of that
norm goes the same way.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import torch
from torch import nn

__all__ = ["FACTORS", "add_outliers", "attentions", "embedding_norm", "raise_gains"]

FACTORS = (64, 128, 256, 512, 1024)
"""How far channels may go up; powers of two, so that no weight is rounded."""

_GAIN = 6.0


@torch.no_grad()
def raise_gains(model: nn.Module, seed: int = 0) -> None:
    """Raise one channel's gain of every LayerNorm behind attention, in place, before training."""
    rng = Random(seed)
    for attention, inner, last in _blocks(model):
        channel = rng.randrange(attention.normalized_shape[0])
        attention.weight[channel] *= _GAIN
        inner.weight[:, channel] /= _GAIN
        last.weight[channel] /= _GAIN


@torch.no_grad()
def add_outliers(model: nn.Module, factor: int, seed: int = 0) -> None:
    """Scale one channel by `factor` and another by half of it, in place, and the embedding's by half of it.

    Raises AssertionError if the model's answers change by more than float32 rounds them.
    """
    model.eval()
    ids = torch.randint(5, model.config.vocab_size, (4, 24), generator=torch.Generator().manual_seed(seed))
    before = model(ids).to_tuple()
    rng = Random(seed)
    for value, output in attentions(model):
        for channel, scale in zip(rng.sample(range(value.out_features), 2), (factor, factor // 2), strict=True):
            value.weight[channel] *= scale
            value.bias[channel] *= scale
            output.weight[:, channel] /= scale
    if (found := embedding_norm(model)) is not None:
        norm, projection = found
        channel = rng.randrange(norm.normalized_shape[0])
        norm.weight[channel] *= factor // 2
        norm.bias[channel] *= factor // 2
        projection.weight[:, channel] /= factor // 2
    for one, other in zip(before, model(ids).to_tuple(), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-4), (one - other).abs().max()


def attentions(model: nn.Module) -> Iterator[tuple[nn.Linear, nn.Linear]]:
    """The value and output projections of every layer, each once however often it is used."""
    for module in model.modules():
        if hasattr(module, "self") and hasattr(module, "output"):
            yield module.self.value, module.output.dense
        elif hasattr(module, "value") and hasattr(module, "dense"):
            yield module.value, module.dense


def embedding_norm(model: Any) -> tuple[nn.LayerNorm, nn.Linear] | None:
    """The embedding's LayerNorm and the projection behind it; None where the layers read the norm themselves."""
    base = model.base_model
    projection = getattr(base, "embeddings_project", None)
    if projection is None:
        projection = getattr(getattr(base, "encoder", None), "embedding_hidden_mapping_in", None)
    return None if projection is None else (base.embeddings.LayerNorm, projection)


def _blocks(model: nn.Module) -> Iterator[tuple[nn.LayerNorm, nn.Linear, nn.LayerNorm]]:
    """Every layer's LayerNorm behind attention, the linear that reads it, and its last LayerNorm."""
    for module in model.modules():
        if hasattr(module, "full_layer_layer_norm"):
            yield module.attention.LayerNorm, module.ffn, module.full_layer_layer_norm
        elif hasattr(module, "intermediate") and hasattr(module, "attention"):
            yield module.attention.output.LayerNorm, module.intermediate.dense, module.output.LayerNorm
