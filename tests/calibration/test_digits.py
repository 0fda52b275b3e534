"""What rounding a value to bf16 costs, beside the same computed with NumPy."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.calibration.digits import measure_losses

WEIGHT = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)


def read(body: str, signature: str = "(float[b, n, 8] x) => (float[b, n, 8] y)", **weights: object) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 23]> t {signature} {{ {body} }}')
    arrays = {name: np.asarray(weight, np.float32) for name, weight in weights.items()}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for node in model.graph:
        node.name = f"{node.outputs[0].name}.node"
    return model


def texts(*shapes: tuple[int, int], size: float = 1.0):
    random = np.random.default_rng(1)
    return [{"x": (random.normal(size=(*shape, 8)) * size).astype(np.float32)} for shape in shapes]


def rounded(array):
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def share(found, wanted):
    rows = wanted.reshape(-1, wanted.shape[-1])
    return np.sqrt(np.square(found - wanted).sum() / np.square(rows - rows.mean(axis=0)).sum())


def test_it_is_what_rounding_does_to_whoever_reads_a_value_over_all_batches():
    model = read("t = Tanh(x) y = MatMul(t, w)", w=WEIGHT)
    batches = texts((2, 5), (3, 4))
    found = measure_losses(model, batches)
    tanh = np.concatenate([np.tanh(batch["x"]).reshape(-1, 8) for batch in batches])
    assert found["t"] == pytest.approx(share(rounded(tanh) @ WEIGHT, tanh @ WEIGHT), rel=1e-3)
    # What leaves the graph is rounded too.
    assert found["y"] == pytest.approx(share(rounded(tanh @ WEIGHT), tanh @ WEIGHT), rel=1e-3)
    assert all(0.001 < loss < 0.004 for loss in found.values())


def test_the_graph_is_not_changed():
    model = read("t = Tanh(x) y = MatMul(t, w)", w=WEIGHT)
    before = ir.to_proto(model).SerializeToString()
    measure_losses(model, texts((1, 3)))
    assert ir.to_proto(model).SerializeToString() == before


def test_what_a_mean_takes_away_costs_the_digits_of_the_rest():
    body = "t = Tanh(x) u = Add(t, far) y = LayerNormalization<axis = -1>(u, g, b)"
    model = read(body, far=np.full(8, 500.0), g=np.ones(8), b=np.zeros(8))
    found = measure_losses(model, texts((2, 9)))
    # 500 and 502 are two neighbours in bf16.
    assert found["u"] > 0.5 and found["t"] < 0.01 and found["y"] < 0.01


def test_an_addend_that_vanishes_beside_another_is_lost():
    signature = "(float[b, n, 8] x) => (float[b, n, 8] y)"
    model = read(
        "t = Tanh(x) u = Add(t, far) y = Sub(u, near)", signature, far=np.full(8, 500.0), near=np.full(8, 499.0)
    )
    assert measure_losses(model, texts((2, 9)))["u"] > 0.5


def test_a_constant_that_nothing_takes_away_is_no_loss_of_the_text():
    still = measure_losses(
        read("t = Mul(x, nothing) u = Add(t, far) y = Tanh(u)", nothing=0.0, far=np.ones(8)), texts((2, 9))
    )
    assert still["u"] == 0.0 and still["t"] == 0.0


@pytest.mark.parametrize("step", ["t = Add(q, small)", "t = Identity(q)", "t = Mul(q, two)"])
def test_what_is_passed_on_costs_what_its_reader_loses(step):
    body = f"q = Sub(x, small) {step} y = LayerNormalization<axis = -1>(t, g, b)"
    model = read(body, small=np.full(8, 0.01), two=2.0, g=np.ones(8), b=np.zeros(8))
    batches = texts((3, 9))
    # Every token has an offset of its own, so that neither q nor t seems to lose much by itself.
    offsets = np.random.default_rng(2).normal(size=(3, 9, 1)).astype(np.float32)
    found = measure_losses(model, [{"x": batches[0]["x"] + 300 * offsets}])
    assert found["t"] > 0.2 and found["q"] == pytest.approx(found["t"], rel=0.2)
