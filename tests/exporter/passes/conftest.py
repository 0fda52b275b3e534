"""What the tests of the passes share: small graphs from text, and the two things that hold for every pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray
from onnx_ir.passes import common

from bvx.exporter.passes import Pass
from bvx.runtime.manifest import PassLog


@pytest.fixture(scope="session")
def graph() -> Callable[..., ir.Model]:
    """Makes a graph from onnx's text form and arrays: graph("(float[n, 4] x) => (float[n, 4] y)", "y = …", W=…)."""

    def make(signature: str, body: str, **weights: NDArray[Any]) -> ir.Model:
        proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 23]> test {signature} {{ {body} }}')
        proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in weights.items())
        model = ir.from_proto(proto)
        common.ShapeInferencePass()(model)
        return model

    return make


@pytest.fixture(scope="session")
def check(run_graph) -> Callable[..., PassLog]:
    """Runs a pass over a graph: check(pass, graph, feeds) -> its log.

    Afterwards the graph is valid, says what it said before, and a second run finds nothing to do.
    """

    def run(one: Pass, model: ir.Model, feeds: Mapping[str, NDArray[Any]]) -> PassLog:
        before = run_graph(model, feeds)
        log = one(model)
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
        after = run_graph(model, feeds)
        assert list(after) == list(before)
        for name, value in before.items():
            assert after[name].shape == value.shape
            np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
        assert one(model).applied == 0, "a second run finds work"
        assert log.name == one.__name__
        return log

    return run


@pytest.fixture(scope="session")
def operators() -> Callable[[ir.Model], list[str]]:
    """The operators of a graph, in order."""
    return lambda model: [node.op_type for node in model.graph]


@pytest.fixture(scope="session")
def numbers() -> Callable[..., NDArray[np.float32]]:
    """Random float32 numbers of a shape."""
    random = np.random.default_rng(0)
    return lambda *shape: random.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="session")
def before_pass(captured) -> Callable[..., ir.Model]:
    """A family's captured graph as it is when `until` gets it: before_pass(until, family, task)."""
    from bvx.exporter.passes import CANONICAL

    def run(until: Pass, family: str, task: str, **shape: object) -> ir.Model:
        model = captured(family, task, **shape).raw.clone()
        for one in CANONICAL[: CANONICAL.index(until)]:
            one(model)
        return model

    return run
