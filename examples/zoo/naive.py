"""What naive int8 does to a model: linear layers read 256 even steps from the least to the largest value seen.

It is simulated in float32, so it is the same on every processor: activations per tensor, min-max over the calibration
texts; weights symmetric int8 per output channel, nearest. Embeddings, attention's own products and norms stay float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["quantise_naively"]


@torch.no_grad()
def quantise_naively(model: nn.Module, calibrate: Callable[[nn.Module], Any]) -> nn.Module:
    """A copy of `model` that computes as if in int8; `calibrate` runs the model it is given on calibration texts."""
    quantised = copy.deepcopy(model).eval()
    linears = [module for module in quantised.modules() if isinstance(module, nn.Linear)]
    ranges = {linear: [0.0, 0.0] for linear in linears}
    hooks = [linear.register_forward_pre_hook(_observe(ranges[linear])) for linear in linears]
    calibrate(quantised)
    for hook in hooks:
        hook.remove()
    for linear in linears:
        linear.register_forward_pre_hook(_round(*ranges[linear]))
        # Not in place: a decoder may share its weight with the embedding, which stays as it is.
        scale = linear.weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        linear.weight = nn.Parameter((linear.weight / scale).round() * scale)
    return quantised


def _observe(seen: list[float]) -> Callable[..., None]:
    def observe(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[:] = [min(seen[0], float(inputs[0].min())), max(seen[1], float(inputs[0].max()))]

    return observe


def _round(least: float, largest: float) -> Callable[..., tuple[torch.Tensor]]:
    scale = max(largest - least, 1e-12) / 255
    zero = round(-least / scale)

    def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor]:
        return (((inputs[0] / scale).round() + zero).clamp(0, 255).sub(zero) * scale,)

    return hook
