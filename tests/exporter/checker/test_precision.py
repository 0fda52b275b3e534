"""Rules about types and stored weights, held against NVIDIA's builder."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.checker import check

from .conftest import graph, node

RANDOM = np.random.default_rng(0)


def rules_of(model):
    return {finding.rule for finding in check(model)}


@pytest.mark.parametrize(
    ("operator", "inputs", "weights"),
    [
        ("Add", "x w", {"w": np.zeros(64, np.float32)}),
        ("MatMul", "x w", {"w": np.zeros((64, 64), np.float32)}),
        ("LayerNormalization", "x w", {"w": np.ones(64, np.float32)}),
    ],
)
def test_mixed_types_are_refused_by_both(build, operator, inputs, weights):
    mixed = graph([node(operator, inputs, "y")], weights)
    assert "one-float-type" in rules_of(mixed)
    assert not build(mixed)
    alike = graph([node(operator, inputs, "y")], {name: array.astype(np.float16) for name, array in weights.items()})
    assert not check(alike)
    assert build(alike)


@pytest.mark.parametrize("dtype", ["INT16", "UINT8", "UINT32"])
def test_types_that_the_parser_does_not_know_are_refused_by_both(build, dtype):
    to = int(getattr(ir.DataType, dtype))
    model = graph([node("Cast", "x", "c", to=to), node("Cast", "c", "y", to=int(ir.DataType.FLOAT16))])
    assert rules_of(model) == {"known-types"}
    assert not build(model)


def normalise(dtype):
    square = [node("ReduceMean", "x a", "m"), node("Sub", "x m", "c"), node("Mul", "c c", "p")]
    rest = [node("ReduceMean", "p a", "v"), node("Add", "v e", "ve"), node("Sqrt", "ve", "s"), node("Div", "c s", "y")]
    weights = {"a": np.array([-1]), "e": np.array(1e-3, dtype)}
    name = {"float16": "FLOAT16", "float32": "FLOAT"}[np.dtype(dtype).name]
    return graph([*square, *rest], weights, inputs={"x": name}, outputs={"y": name})


def test_squares_summed_in_fp16_are_found_though_the_builder_takes_them(build):
    assert rules_of(normalise(np.float16)) == {"normalisation-in-fp32"}
    built = build(normalise(np.float16))
    assert built
    # No cast to fp32 in the kernel that holds the sums, as there is for the operator.
    assert not any("Cast" in name for name, _, _ in built.layers)
    operator = build(graph([node("LayerNormalization", "x g", "y", axis=-1)], {"g": np.ones(64, np.float16)}))
    assert any("Cast" in name for name, _, _ in operator.layers)


def test_squares_summed_in_fp32_are_fine():
    assert not check(normalise(np.float32))


def chain(second):
    """Two linear layers [64, 64] after another, the second with the weight `second` of the first."""
    weight = RANDOM.normal(size=(64, 1024)).astype(np.float16)
    nodes = [node("MatMul", "x w", "a"), *second]
    return weight, nodes


def test_a_matrix_and_its_transpose_are_stored_twice_and_a_transpose_node_is_not(build):
    weight = RANDOM.normal(size=(64, 4096)).astype(np.float16)
    copied = graph([node("MatMul", "x w", "a"), node("MatMul", "a t", "y")], {"w": weight, "t": weight.T.copy()})
    nodes = [node("MatMul", "x w", "a"), node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "a t", "y")]
    once = graph(nodes, {"w": weight})
    assert rules_of(copied) == {"weights-stored-once"}
    assert not check(once)
    assert build(copied).size - build(once).size > 0.9 * weight.nbytes


def test_two_equal_weights_are_no_matter_because_the_builder_stores_them_once(build):
    weight = RANDOM.normal(size=(64, 64)).astype(np.float16)
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "a v", "y")]
    assert not check(graph(nodes, {"w": weight, "v": weight.copy()}))


def test_a_graph_without_types_is_inferred_first():
    model = graph([node("Identity", "x", "i"), node("Add", "i w", "y")], {"w": np.zeros(64, np.float32)})
    for one in model.graph.all_nodes():
        for value in one.outputs:
            value.type = None
    assert "one-float-type" in rules_of(model)
