"""The linear layers of a graph while their recipe is made: smoothed, rounded and corrected, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .activations import Inputs, Seen, collect_inputs, pool
from .bias import Use, correct_bias
from .places import Group, find_groups
from .recipe import QuantizedWeight, Recipe
from .rounding import factorise, round_together
from .simulation import simulate_activation
from .sites import Linear, find_linears
from .smoothing import choose_smoothing, smoothed_bounds
from .weights import limit, quantize_weight, restore

__all__ = ["Layers"]


class Layers:
    """A recipe in the making, from the plainest one. `seen` in every method is what `look` found."""

    def __init__(self, graph: ir.Graph, plain: Recipe) -> None:
        self._graph = graph
        self._plain = plain
        self._all = find_linears(graph)
        self._linears = tuple(one for one in self._all if one.weight in plain.weights)
        self._floats: dict[str, NDArray[Any]] = {}
        self._replaced: dict[str, NDArray[Any]] = {}
        self._vectors: dict[str, NDArray[Any]] = {}
        self._smooth: dict[str, NDArray[Any]] = {}
        self._weights = dict(plain.weights)
        self._biases: dict[str, NDArray[Any]] = {}
        self._bounds = dict(plain.ranges.bounds)

    def look(self, model: ir.Model, inputs: Inputs, grams: bool) -> dict[str, Seen]:
        """What the layers' inputs hold, and what V does, whose range smoothing may change."""
        names = tuple(dict.fromkeys(one.input for one in self._all))
        squares = [one.input for one in self._linears if not self._is_tied(one.weight)] if grams else []
        attended = {str(node.inputs[2].name) for node in self._graph if node.op_type == "Attention" and node.inputs[2]}
        values = tuple(one.output for one in self._all if one.output in attended)
        return collect_inputs(model, inputs, (*names, *values), grams=squares)

    def smooth(self, seen: Mapping[str, Seen], everywhere: bool) -> None:
        """Divides the inputs of the layers by vectors, where there is a place that costs nothing, or `everywhere`."""
        for group in find_groups(self._graph, self._all):
            group = group if group.divided else replace(group, linears=self._quantised(group))
            if not self._quantised(group) or not (group.divided or everywhere) or self._is_shared(group):
                continue
            weights = {one.weight: self._matrix(one) for one in group.linears}
            bounds = {name: self._bounds.get(name, seen[name].bounds) for name in group.inputs}
            chosen = choose_smoothing(group, weights, seen, bounds, limit(self._plain.reduced))
            if chosen.vector is not None:
                self._apply(group, chosen.vector, seen)

    def round(self, seen: Mapping[str, Seen]) -> None:
        """Rounds the integers of each weight together, for all its uses; a table that is looked up stays as it is."""
        free = [one for one in self._linears if not self._is_tied(one.weight)]
        uses = {name: [one for one in free if one.weight == name] for name in dict.fromkeys(one.weight for one in free)}
        # Layers that read the same inputs (Q, K and V) come one after another and share what is costly.
        for names, members in groupby(uses.values(), key=lambda ones: [one.input for one in ones]):
            gram = pool([seen[name] for name in names]).gram
            assert gram is not None
            divisor = self._vectors.get(names[0], np.ones(1, np.float32))
            factor, order = factorise(gram / divisor[:, None] / divisor)
            for linear, *_ in members:
                plain = self._weights[linear.weight]
                values = round_together(self._matrix(linear), plain.scales, factor, order, limit(self._plain.reduced))
                values = values if linear.axis else np.ascontiguousarray(values.T)
                self._weights[linear.weight] = QuantizedWeight(values, plain.scales, linear.axis)

    def correct(self, seen: Mapping[str, Seen]) -> None:
        """Takes the mean errors out of the biases; a bias that different weights share stays as it is."""
        for name in dict.fromkeys(one.bias for one in self._linears if one.bias):
            uses = [one for one in self._linears if one.bias == name and one.node not in self._plain.kept]
            if len({one.weight for one in uses}) != 1:
                continue
            rounded = restore(self._weights[uses[0].weight])
            means = [self._use(one, seen[one.input]) for one in uses]
            before = self._matrix(uses[0])
            self._biases[name] = correct_bias(self._float(name), before, rounded if uses[0].axis else rounded.T, means)

    @property
    def smoothed(self) -> Mapping[str, NDArray[Any]]:
        """What smoothing made of the graph's initializers, in float32: with the Muls, the graph says the same."""
        return self._floats

    def recipe(self) -> Recipe:
        """What was decided."""
        ranges = replace(self._plain.ranges, bounds=self._bounds)
        return replace(
            self._plain,
            ranges=ranges,
            weights=self._weights,
            biases=self._biases,
            smooth=self._smooth,
            replaced=self._replaced,
        )

    def _apply(self, group: Group, vector: NDArray[Any], seen: Mapping[str, Seen]) -> None:
        for name in group.inputs:
            self._vectors[name] = vector
            self._bounds[name] = smoothed_bounds(seen[name], vector)
            if not group.divided:
                self._smooth[name] = (1 / vector).astype(np.float32)
        changes = {one.weight: vector[:, None] if one.axis else vector for one in group.linears}
        changes |= dict.fromkeys(group.divided, 1 / vector)
        for name, factor in changes.items():
            self._floats[name] = self._float(name) * factor
            if group.divided:
                self._replaced[name] = self._replaced.get(name, self._stored(name)) * factor
        for linear in (one for one in self._all if one.weight in group.divided):
            if linear.output in self._bounds:
                self._bounds[linear.output] = smoothed_bounds(seen[linear.output], vector)
        for linear in self._linears:
            if linear.weight in (*group.weights, *group.divided):
                rounded = quantize_weight(self._floats[linear.weight], linear.axis, self._plain.reduced)
                self._weights[linear.weight] = rounded

    def _use(self, linear: Linear, seen: Seen) -> Use:
        divisor = self._vectors.get(linear.input, np.ones(1, np.float32))
        rows = seen.rows / divisor
        shift = (simulate_activation(rows, self._bounds[linear.input]) - rows).mean(axis=0)
        return Use(seen.mean / divisor, seen.mean / divisor + shift, seen.count)

    def _quantised(self, group: Group) -> tuple[Linear, ...]:
        return tuple(one for one in group.linears if one in self._linears)

    def _is_shared(self, group: Group) -> bool:
        """Whether something else reads a weight of the group, and would read the vector with it."""
        nodes = {one.node for one in group.linears}
        return any(
            use.node.name not in nodes for name in group.weights for use in self._graph.initializers[name].uses()
        )

    def _is_tied(self, weight: str) -> bool:
        return any(use.node.op_type == "Gather" for use in self._graph.initializers[weight].uses())

    def _matrix(self, linear: Linear) -> NDArray[Any]:
        """The weight as it is by now, float32 [in, out]."""
        array = self._float(linear.weight)
        return array if linear.axis else array.T

    def _float(self, name: str) -> NDArray[Any]:
        return self._floats[name] if name in self._floats else self._stored(name)

    def _stored(self, name: str) -> NDArray[Any]:
        tensor = self._graph.initializers[name].const_value
        assert tensor is not None  # it is an initializer
        return np.asarray(tensor.numpy(), np.float32)
