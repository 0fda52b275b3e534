"""What the tests of the lowerings share: what calibration would have seen, and a graph whose values do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from bvx.calibration.ranges import Corpus, Ranges

Feeds = Mapping[str, NDArray[Any]]


@pytest.fixture(scope="session")
def seen(run_graph) -> Callable[[ir.Model, Feeds], Ranges]:
    """The ranges of every float value of a graph on `feeds`: seen(graph, feeds)."""

    def observe(model: ir.Model, feeds: Feeds) -> Ranges:
        exposed = model.clone()
        values = [value for node in exposed.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT]
        exposed.graph.outputs.extend(value for value in values if not value.is_graph_output())
        found = run_graph(exposed, feeds)
        floats = {name: value for name, value in found.items() if value.dtype == np.float32}
        bounds = {name: (float(min(value.min(), 0)), float(max(value.max(), 0))) for name, value in floats.items()}
        peaks = {name: float(np.abs(value).max()) for name, value in floats.items()}
        return Ranges("minmax", Corpus("test", 1, 1, 1, 0, ""), bounds, peaks)

    return observe


@pytest.fixture(scope="session")
def scaled() -> Callable[[ir.Model, str, float], None]:
    """Multiplies a weight in place: scaled(graph, "…dense.weight", 1e4)."""

    def change(model: ir.Model, name: str, factor: float) -> None:
        value = model.graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.tensor((value.const_value.numpy() * np.float32(factor)).astype(np.float32), name=name)

    return change
