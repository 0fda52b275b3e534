"""Recipe: everything that quantisation decided, whatever the target. A lowering only writes it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from .ranges import Ranges

__all__ = ["QuantizedWeight", "Recipe"]


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """A symmetric int8 weight: `values` int8 in the form in which the graph stores it, `scales` float32 [channels].

    `axis` is the axis of `values` that the scales belong to: 1 for the [in, out] matrix of a linear layer, 0 for the
    rows of an embedding table. The weight is `values * scales`, with the scales along `axis`.
    """

    values: NDArray[Any]
    scales: NDArray[Any]
    axis: int


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a canonical graph is quantised to int8; names are those of the canonical graph.

    `weights` are the weights of linear layers and the embedding tables that become int8, by initializer: one entry
    for a weight, however often it is used. `biases` replace biases (float32, by initializer) with corrected ones.
    `smooth` are vectors [in] by the name of a linear layer's input tensor: the input is multiplied by it in front
    of its Q node, its bounds in `ranges` are those after that, and the weights here are already divided by it.
    `replaced` are float32 weights that exact smoothing changed: they hold where a weight is not int8 after all.
    `kept` maps the names of nodes that stay in higher precision to the reason. `attention` says whether the two
    products inside attention become int8 too. `reduced` says that weights lie within -64..64, so that the 16-bit
    sums of x86 without VNNI cannot saturate.
    """

    ranges: Ranges
    weights: Mapping[str, QuantizedWeight]
    biases: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    smooth: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    replaced: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    attention: bool = False
    reduced: bool = False
