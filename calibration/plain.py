"""The plainest recipe: every linear layer int8, its weight rounded to the nearest, its input's range as it was seen."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

import onnx_ir as ir

from ..runtime.errors import CalibrationError
from .ranges import Ranges
from .recipe import QuantizedWeight, Recipe
from .sites import Linear, find_linears, find_tables
from .weights import quantize_weight

__all__ = ["SMALL_TABLE", "plain_recipe"]

SMALL_TABLE = 256
"""Rows up to which a table stays as it is: token types weigh nothing."""


def plain_recipe(
    graph: ir.Graph,
    ranges: Ranges,
    *,
    reduced: bool = False,
    embeddings: bool = True,
    kept: Mapping[str, str] | Container[str] = (),
    attention: bool = False,
) -> Recipe:
    """The recipe for a canonical graph with nothing searched and nothing corrected.

    `kept` are the nodes that stay in higher precision, with the reasons or without. A weight becomes int8 where any
    of its uses does; a kept linear layer that shares it reads it dequantised, so that it is stored once.

    Raises CalibrationError when a linear layer's input has no range.
    """
    reasons = _reasons(kept, graph)
    weights: dict[str, QuantizedWeight] = {}
    linears = find_linears(graph)
    for linear in linears:
        if linear.node in reasons:
            continue
        if linear.input not in ranges.bounds:
            raise CalibrationError(f"{linear.input}, which {linear.node} reads, has no range.", "Calibrate again.")
        if linear.weight not in weights:
            weights[linear.weight] = _quantize(graph, linear.weight, linear.axis, reduced)
    if embeddings:
        for name in _tables(graph, linears, reasons):
            if name not in weights:
                weights[name] = _quantize(graph, name, 0, False)
    return Recipe(ranges, weights, kept=reasons, attention=attention, reduced=reduced)


def _reasons(kept: Mapping[str, str] | Container[str], graph: ir.Graph) -> dict[str, str]:
    if isinstance(kept, Mapping):
        return dict(kept)
    return {str(node.name): "asked for" for node in graph if node.name in kept}


def _tables(graph: ir.Graph, linears: tuple[Linear, ...], kept: Container[str]) -> Iterator[str]:
    """Large tables that nothing reads in float: a tied decoder that stays float keeps its table float."""
    decoders = {linear.weight for linear in linears if linear.node in kept}
    for table in find_tables(graph):
        tensor = graph.initializers[table.weight].const_value
        large = tensor is not None and tensor.shape.numpy()[0] > SMALL_TABLE
        if large and table.node not in kept and table.weight not in decoders:
            yield table.weight


def _quantize(graph: ir.Graph, name: str, axis: int, reduced: bool) -> QuantizedWeight:
    tensor = graph.initializers[name].const_value
    assert tensor is not None  # a Linear or a Table has a stored weight
    return quantize_weight(tensor.numpy(), axis, reduced)
