"""From ranges to a recipe: what makes int8 lose less than rounding everything to the nearest would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_ir as ir

from .activations import Inputs
from .layers import Layers
from .plain import plain_recipe
from .ranges import Ranges
from .recipe import Recipe

__all__ = ["QuantizeOptions", "make_recipe", "thin"]

_ENOUGH = 4096
"""Tokens that are looked at: more than the 3072 channels of the widest layer of a base model, so that no direction of
its inputs goes unseen. At the size of RoBERTa-base 1,024 tokens take 13 s of one core."""


@dataclass(frozen=True)
class QuantizeOptions:
    """How a recipe is made.

    `smooth` says where smoothing vectors may go: "nowhere", where they are "exact" and cost nothing, or "everywhere",
    with a Mul in the graph. `rounding` is "nearest" or "together" (GPTQ), `bias` whether biases are corrected. The
    rest is what a Recipe says of it: `embeddings` whether tables become int8, `reduced`, `attention` and `kept`.
    """

    smooth: Literal["nowhere", "exact", "everywhere"] = "everywhere"
    rounding: Literal["nearest", "together"] = "together"
    bias: bool = True
    embeddings: bool = True
    reduced: bool = False
    attention: bool = False
    kept: Mapping[str, str] = field(default_factory=dict)


def make_recipe(model: ir.Model, ranges: Ranges, inputs: Inputs, options: QuantizeOptions | None = None) -> Recipe:
    """The recipe for a canonical graph, from its `ranges` and one more look at what `inputs` do inside it.

    The bounds of a tensor in the recipe are those after smoothing. The same arguments make the same recipe. Memory:
    the weights twice, and for each input of a linear layer a square of its width in float32.

    Raises CalibrationError when a linear layer's input has no range, or `inputs` no token.
    """
    options = options or QuantizeOptions()
    plain = plain_recipe(
        model.graph,
        ranges,
        reduced=options.reduced,
        embeddings=options.embeddings,
        kept=options.kept,
        attention=options.attention,
    )
    if options.smooth == "nowhere" and options.rounding == "nearest" and not options.bias:
        return plain
    layers = Layers(model.graph, plain)
    seen = layers.look(model, thin(inputs), grams=options.rounding == "together")
    if options.smooth != "nowhere":
        layers.smooth(seen, everywhere=options.smooth == "everywhere")
    if options.rounding == "together":
        layers.round(seen)
    if options.bias:
        layers.correct(seen)
    return layers.recipe()


def thin(inputs: Inputs, tokens: int = _ENOUGH) -> Inputs:
    """Every second batch, every third, and so on, so that about `tokens` tokens are left; all where there are fewer."""
    batches = list(inputs)
    total = sum(int(np.count_nonzero(batch["attention_mask"])) for batch in batches)
    return batches[:: max(1, round(total / tokens))]
