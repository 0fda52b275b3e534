"""Activations as 8-bit integers: a scale and a zero point for each tensor, and the two nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..scales import FP16_DIGITS, round_up
from .names import add_initializer, fresh

__all__ = ["Activations", "Grid", "Scheme", "signed", "unsigned"]

_SMALLEST = 1e-7
"""Above the smallest positive float16, 6e-8: a scale must stay positive in a graph of any float type."""


@dataclass(frozen=True)
class Grid:
    """`q` stands for `(q - zero) * scale`; `zero` is a uint8 or an int8 scalar and says which of them `q` is."""

    scale: float
    zero: np.uint8 | np.int8


Scheme = Callable[[tuple[float, float]], Grid]
"""The grid for a tensor's (low, high)."""


def unsigned(bounds: tuple[float, float]) -> Grid:
    """uint8 with a zero point: all 256 numbers lie within the bounds, which are widened to hold zero exactly."""
    low, high = min(bounds[0], 0.0), max(bounds[1], 0.0)
    scale = max((high - low) / 255, _SMALLEST)
    return Grid(scale, np.uint8(round(min(max(-low / scale, 0.0), 255.0))))


def signed(bounds: tuple[float, float]) -> Grid:
    """int8 around zero, which TensorRT wants: the larger of the two bounds is 127.

    The scale is what a graph of fp16 holds exactly: rounded to the nearest it could clip the largest value.
    """
    scale = max(abs(bounds[0]), abs(bounds[1]), 127 * _SMALLEST) / 127
    return Grid(float(round_up(scale, FP16_DIGITS)), np.int8(0))


class Activations:
    """Writes `DequantizeLinear(QuantizeLinear(x))` once for each tensor `x`, however many linear layers read it."""

    def __init__(self, graph: ir.Graph, scheme: Scheme) -> None:
        self._graph = graph
        self._scheme = scheme
        self._smooth: dict[str, ir.Value] = {}
        self._rounded: dict[str, ir.Value] = {}

    def smooth(self, value: ir.Value, vector: NDArray[Any] | None, before: ir.Node) -> ir.Value:
        """`value * vector` [width], written in front of `before`; `value` itself where there is no vector."""
        if vector is None:
            return value
        name = f"{value.name}.smooth"
        if name not in self._smooth:
            assert value.dtype is not None
            factor = add_initializer(self._graph, f"{name}.factor", vector.astype(value.dtype.numpy()))
            product = ir.node("Mul", [value, factor], name=name)
            self._graph.insert_before(before, product)
            self._smooth[name] = fresh(product, value.shape, value.dtype)
        return self._smooth[name]

    def quantize(self, value: ir.Value, bounds: tuple[float, float], before: ir.Node) -> ir.Value:
        """`value` on its grid and back, the two nodes in front of `before`; its float type is kept."""
        name = str(value.name)
        if name not in self._rounded:
            self._rounded[name] = self._write(value, bounds, before)
        return self._rounded[name]

    def _write(self, value: ir.Value, bounds: tuple[float, float], before: ir.Node) -> ir.Value:
        assert value.dtype is not None
        name, dtype, grid = str(value.name), value.dtype, self._scheme(bounds)
        scale = add_initializer(self._graph, f"{name}.scale", np.array(grid.scale, dtype.numpy()))
        zero = add_initializer(self._graph, f"{name}.zero_point", np.asarray(grid.zero))
        # Both are scalars, so that `axis` says nothing; it is written because its default differs between versions.
        down = ir.node("QuantizeLinear", [value, scale, zero], {"axis": 0}, name=f"{name}.QuantizeLinear")
        fresh(down, value.shape, ir.DataType.from_numpy(np.asarray(grid.zero).dtype))
        up = ir.node("DequantizeLinear", [down.outputs[0], scale, zero], {"axis": 0}, name=f"{name}.DequantizeLinear")
        self._graph.insert_before(before, [down, up])
        return fresh(up, value.shape, dtype)
