"""The reference evaluator: the numbers of fp32, fp16 and bf16 graphs where no engine runs them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.exporter.families import known_families
from bvx.exporter.reference import check_lowered
from bvx.exporter.targets.half import BF16, FP16, narrow
from bvx.runtime.errors import EngineMismatch, InputError
from bvx.runtime.parity import Tolerance, compare

FAMILIES = sorted(known_families())
ALLOWED = {"fp32": Tolerance(1e-5, 1e-6, 1 - 1e-10, 1.0), "fp16": Tolerance(1.5e-2, 2e-3, 0.99999, 1.0)}
ALLOWED["bf16"] = Tolerance(0.12, 2e-2, 0.9995, 0.99)
"""Twice what the five families reach at most with two layers."""


@pytest.fixture
def run(tmp_path):
    """Runs a graph by the reference evaluator: run(graph, feeds)."""

    def check(model: ir.Model, feeds):
        ir.save(model, tmp_path / "graph.onnx")
        return check_lowered(tmp_path / "graph.onnx", feeds)

    return check


@pytest.mark.parametrize("kind", [None, FP16, BF16], ids=lambda kind: kind.name if kind else "fp32")
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_says_in_every_precision_what_onnx_runtime_says_in_fp32(family, kind, captured, run_graph, run):
    one = captured(family, "fill-mask")
    model, _ = one.canonical()
    feeds = one.feeds(3, 13)
    wanted = run_graph(model, feeds)
    if kind is not None:
        narrow(model, kind)
    found = run(model, feeds)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == np.float32
        row = compare("reference", name, value, found[name], ALLOWED[kind.name if kind else "fp32"])
        assert row.passed, row


def test_a_graph_that_says_something_else_is_told_apart(captured, run_graph, run):
    one = captured("bert", "fill-mask")
    model, _ = one.canonical()
    feeds = one.feeds(3, 13)
    wanted = run_graph(model, feeds)["logits"]
    narrow(model, BF16)
    feeds["attention_mask"] = np.ones_like(feeds["attention_mask"])
    assert not compare("reference", "logits", wanted, run(model, feeds)["logits"], ALLOWED["bf16"]).passed


def read(body: str, kind: str = "bfloat16") -> ir.Model:
    text = (
        f'<ir_version: 10, opset_import: ["": 23]> t ({kind}[a, b] x, {kind}[b, c] w) => ({kind}[a, c] y) {{ {body} }}'
    )
    return ir.from_proto(onnx.parser.parse_model(text))


def test_products_are_added_up_in_float32_and_rounded_once(run):
    x, w = np.full((1, 512), 1.0), np.full((512, 1), 1 + 2**-7)
    feeds = {"x": x.astype(ml_dtypes.bfloat16), "w": w.astype(ml_dtypes.bfloat16)}
    assert float(run(read("y = MatMul(x, w)"), feeds)["y"][0, 0]) == 516.0


def test_the_statistics_of_a_layer_normalization_do_not_overflow(run):
    text = "(float16[a, 4] x, float16[4] w) => (float16[a, 4] y) { y = LayerNormalization(x, w) }"
    model = ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 23]> t {text}'))
    feeds = {"x": np.array([[-6e4, -3e4, 3e4, 6e4]], np.float16), "w": np.ones(4, np.float16)}
    np.testing.assert_allclose(run(model, feeds)["y"], [[-1.265, -0.632, 0.632, 1.265]], atol=1e-3)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_is_rounded_once(approximate, run):
    model = read(f'y = Gelu<approximate = "{approximate}">(x)', "float16")
    x = np.linspace(-60, 60, 33, dtype=np.float16)[None]
    found = run(model, {"x": x, "w": x.T})["y"]
    assert found.dtype == np.float16 and found[0, 0] == 0 and found[0, -1] == 60
    np.testing.assert_allclose(found[0, 16:], x[0, 16:], atol=0.05)


def test_a_missing_input_is_named(run):
    with pytest.raises(InputError, match=r"graph\.onnx reads w too"):
        run(read("y = MatMul(x, w)"), {"x": np.ones((1, 1), ml_dtypes.bfloat16)})


def test_an_operator_that_the_evaluator_does_not_know_is_named(tmp_path):
    text = '<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]> t (float[a] x) => (float[a] y)'
    model = ir.from_proto(onnx.parser.parse_model(f"{text} {{ y = com.microsoft.FastGelu(x) }}"))
    ir.save(model, tmp_path / "graph.onnx")
    with pytest.raises(EngineMismatch, match="FastGelu"):
        check_lowered(tmp_path / "graph.onnx", {"x": np.ones(1, np.float32)})
