"""Which linear layers cost accuracy in int8, and the fewest of them that have to stay in higher precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .recipe import Recipe
from .sites import Linear, find_linears

__all__ = ["Run", "Sensitivity", "Tradeoff", "Trial", "keep", "keep_fewest", "rank_operators"]

Run = Callable[[Recipe], Mapping[str, NDArray[Any]]]
"""Writes the graph that a recipe asks for, runs it on some texts, and gives its outputs by name."""

_RELEASED = 8
"""How many of the operators that a search kept are tried once more without, the least sensitive first."""


@dataclass(frozen=True)
class Sensitivity:
    """How far the outputs move when the linear layer `node` alone is int8.

    `divergence` is the root mean square of the change over that of the outputs, the largest of all outputs.
    """

    node: str
    divergence: float


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried: its `kept` linear layers, the `drop` that was measured, and what it saves.

    `bytes` are those of all initializers; `share` is that of the multiply-adds of linear layers which are int8.
    """

    kept: tuple[str, ...]
    drop: float
    bytes: int
    share: float

    def speedup(self, gain: float) -> float:
        """How many times faster linear layers are than in full precision, if int8 makes them `gain` times as fast.

        An estimate, never a measurement: nothing else is counted.
        """
        return 1 / (1 - self.share + self.share / gain)


@dataclass(frozen=True)
class Tradeoff:
    """What a search found: every trial, the fewest kept first, and the `best`.

    `reached` says that the best is within the budget; if not, it is the one with the least drop.
    """

    best: Trial
    trials: tuple[Trial, ...]
    reached: bool


def keep(graph: ir.Graph, recipe: Recipe, kept: Mapping[str, str]) -> Recipe:
    """The recipe with more linear layers in higher precision: `kept` maps their nodes to the reasons.

    A weight stays int8 while one of its uses is, and so does the correction of a bias.
    """
    reasons = {**recipe.kept, **kept}
    linears = [one for one in find_linears(graph) if one.weight in recipe.weights]
    used = {one.weight for one in linears if one.node not in reasons}
    corrected = {one.bias for one in linears if one.node not in reasons}
    freed = {one.weight for one in linears} - used
    weights = {name: weight for name, weight in recipe.weights.items() if name not in freed}
    biases = {name: bias for name, bias in recipe.biases.items() if name in corrected}
    return replace(recipe, weights=weights, biases=biases, kept=reasons)


def rank_operators(
    graph: ir.Graph, recipe: Recipe, run: Run, progress: Callable[[str], None] = lambda node: None
) -> tuple[Sensitivity, ...]:
    """Every linear layer that the recipe quantises, the most sensitive first: each runs once as the only one in int8.

    `progress` is told each node before it runs. A weight with several uses is int8 for all of them whenever it is
    for one; only the inputs of the others stay in float.
    """
    nodes = [one.node for one in _quantised(graph, recipe)]
    reference = run(keep(graph, recipe, dict.fromkeys(nodes, "reference")))
    found = []
    for node in nodes:
        progress(node)
        others = dict.fromkeys((other for other in nodes if other != node), "not looked at")
        found.append(Sensitivity(node, _divergence(reference, run(keep(graph, recipe, others)))))
    return tuple(sorted(found, key=lambda one: (-one.divergence, one.node)))


def keep_fewest(
    graph: ir.Graph,
    recipe: Recipe,
    order: Sequence[str],
    measure: Callable[[Recipe], float],
    max_drop: float,
    reason: str = "to stay within the accuracy budget",
) -> Tradeoff:
    """The fewest linear layers in higher precision with which `measure`, a drop in accuracy, is at most `max_drop`.

    `order` are the nodes that may be kept, the most sensitive first. Their number is doubled until the budget is met
    and then bisected, so about 2 log2(n) recipes are measured, and a few more to let go of what was kept in vain.
    """
    trials: dict[tuple[str, ...], Trial] = {}

    def fits(kept: Sequence[str]) -> bool:
        key = tuple(sorted(kept, key=list(order).index))
        if key not in trials:
            tried = keep(graph, recipe, dict.fromkeys(key, reason))
            trials[key] = Trial(key, measure(tried), _count_bytes(graph, tried), _int8_share(graph, tried))
        return trials[key].drop <= max_drop

    low, high = -1, 0
    while not fits(order[:high]) and high < len(order):
        low, high = high, min(max(1, 2 * high), len(order))
    if fits(order[:high]):
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if fits(order[:middle]) else (middle, high)
        kept = list(order[:high])
        for node in list(reversed(kept))[:_RELEASED]:
            fewer = [other for other in kept if other != node]
            # The last one that was added was needed: without it there is a trial already.
            if fits(fewer):
                kept = fewer
    found = sorted(trials.values(), key=lambda one: (len(one.kept), one.drop))
    within = [one for one in found if one.drop <= max_drop]
    best = within[0] if within else min(found, key=lambda one: one.drop)
    return Tradeoff(best, tuple(found), bool(within))


def _quantised(graph: ir.Graph, recipe: Recipe) -> Iterator[Linear]:
    for linear in find_linears(graph):
        if linear.weight in recipe.weights and linear.node not in recipe.kept:
            yield linear


def _divergence(reference: Mapping[str, NDArray[Any]], found: Mapping[str, NDArray[Any]]) -> float:
    shares = []
    for name, expected in reference.items():
        size = float(np.sqrt(np.square(expected, dtype=np.float64).mean())) or 1.0
        shares.append(float(np.sqrt(np.square(found[name] - expected, dtype=np.float64).mean())) / size)
    return max(shares)


def _count_bytes(graph: ir.Graph, recipe: Recipe) -> int:
    total = 0
    for name, value in graph.initializers.items():
        tensor = value.const_value
        weight = recipe.weights.get(name)
        total += weight.values.nbytes + weight.scales.nbytes if weight else tensor.nbytes if tensor is not None else 0
    return total


def _int8_share(graph: ir.Graph, recipe: Recipe) -> float:
    """Of the multiply-adds of all linear layers for one row each."""
    linears = find_linears(graph)
    sizes = {one.weight: graph.initializers[one.weight].const_value for one in linears}
    work = {one.node: tensor.size if (tensor := sizes[one.weight]) is not None else 0 for one in linears}
    return sum(work[one.node] for one in _quantised(graph, recipe)) / (sum(work.values()) or 1)
