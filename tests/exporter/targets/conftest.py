"""What the tests of the lowerings share: what calibration would have seen, recipes, and graphs to hold them against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.recipe import Recipe
from bvx.calibration.sites import find_linears
from bvx.calibration.weights import restore
from bvx.exporter.targets.qdq.activations import Scheme

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


VOCABULARY = 300
"""Rows of the tables: more than those that stay float."""


@dataclass(frozen=True)
class Case:
    """A small model's canonical graph, inputs for it, and the plain recipe for what they do in it."""

    graph: ir.Model
    feeds: Mapping[str, NDArray[Any]]
    recipe: Recipe


@pytest.fixture(scope="session")
def case_of(captured, seen) -> Callable[..., Case]:
    """case_of(family, task, reduced=True, **changes to the recipe): weights that cannot saturate anywhere."""

    def make(family: str, task: str, *, reduced: bool = True, shape: Mapping[str, int] = {}, **asked: Any) -> Case:
        found = captured(family, task, vocab_size=VOCABULARY, **shape)
        model = found.canonical()[0]
        feeds = found.feeds(3, 7)
        recipe = plain_recipe(model.graph, seen(model, feeds), reduced=reduced, **asked)
        return Case(model, feeds, recipe)

    return make


@pytest.fixture(scope="session")
def imitate() -> Callable[..., ir.Model]:
    """Writes a recipe in floats: imitate(model, recipe, scheme) -> the canonical graph with every value on its grid.

    Weights are restored to floats; inputs are divided, rounded, clipped and multiplied back. No Q, no DQ.
    """

    def write(model: ir.Model, recipe: Recipe, scheme: Scheme) -> ir.Model:
        model = model.clone()
        graph = model.graph
        linears = find_linears(graph)
        for linear in linears:
            if linear.node in recipe.kept or linear.weight not in recipe.weights:
                continue
            node = next(node for node in graph if node.name == linear.node)
            round_input(graph, node, recipe, scheme)
        for name, weight in recipe.weights.items():
            graph.initializers[name].const_value = ir.Tensor(restore(weight), name=name)
        for name, array in {**recipe.biases, **recipe.replaced}.items():
            graph.initializers[name].const_value = ir.Tensor(array, name=name)
        return model

    return write


def round_input(graph: ir.Graph, node: ir.Node, recipe: Recipe, scheme: Scheme) -> None:
    value = node.inputs[0]
    grid = scheme(recipe.ranges.bounds[value.name])
    info = np.iinfo(grid.zero.dtype)
    zero = int(grid.zero)

    def constant(number: float) -> ir.Value:
        made = ir.node("Constant", [], {"value": ir.Tensor(np.array(number, np.float32))})
        graph.insert_before(node, made)
        return made.outputs[0]

    if value.name in recipe.smooth:
        made = ir.node("Constant", [], {"value": ir.Tensor(recipe.smooth[value.name])})
        product = ir.node("Mul", [value, made.outputs[0]])
        graph.insert_before(node, [made, product])
        value = product.outputs[0]
    steps = (
        ("Div", grid.scale),
        ("Round", None),
        ("Max", info.min - zero),
        ("Min", info.max - zero),
        ("Mul", grid.scale),
    )
    for operator, number in steps:
        inputs = [value] if number is None else [value, constant(number)]
        step = ir.node(operator, inputs)
        graph.insert_before(node, step)
        value = step.outputs[0]
    node.replace_input_with(0, value)


@pytest.fixture(scope="session")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ir.Model]:
    """What ONNX Runtime makes of a graph when it loads it: optimized(model, disabled_optimizers)."""

    def load(model: ir.Model, disabled: tuple[str, ...] = ()) -> ir.Model:
        path: Path = tmp_path_factory.mktemp("optimized") / "graph.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.optimized_model_filepath = str(path)
        content = ir.to_proto(model).SerializeToString()
        onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
        )
        return ir.load(path)

    return load


@pytest.fixture(scope="session")
def run_fused() -> Callable[..., dict[str, NDArray[Any]]]:
    """Runs a graph as it is served, fused: run_fused(model, feeds)."""

    def run(model: ir.Model, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return run


@pytest.fixture(scope="session")
def count() -> Callable[[ir.Model], Counter[str]]:
    """How often each operator stands in a graph."""
    return lambda model: Counter(node.op_type for node in model.graph)
