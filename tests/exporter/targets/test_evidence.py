"""What stays float32, and the numbers that say why: planted values that do not fit are isolated to their operators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.calibration.digits import measure_losses
from bvx.calibration.ranges import Corpus, Ranges
from bvx.exporter.reference import check_lowered
from bvx.exporter.targets.evidence import HEADROOM, LOSS, find_kept
from bvx.exporter.targets.half import BF16, FP16, narrow

LAYER = "bert.encoder.layer.1"
BEYOND = {
    "layer.1.intermediate.dense.MatMul",
    "layer.1.intermediate.dense.Add",
    "layer.1.intermediate.intermediate_act_fn.Gelu",
    "layer.1.output.dense.MatMul",
}


def read(body: str, signature: str = "(float[b, 4] x) => (float[b, 4] y)", **weights: object) -> ir.Model:
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 23]> t {signature} {{ {body} }}')
    arrays = {name: np.asarray(weight, np.float32) for name, weight in weights.items()}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    for node in model.graph:
        node.name = str(node.outputs[0].name)
    return model


def peaks(**values: float) -> Ranges:
    return Ranges("minmax", Corpus("test", 1, 1, 1, 0, ""), {}, values)


@pytest.fixture
def planted(captured, scaled):
    """A BERT whose second feed-forward layer reaches beyond 65504 between its two linears, and feeds for it."""
    one = captured("bert", "text-classification")
    model, _ = one.canonical()
    for name in ("weight", "bias"):
        scaled(model, f"{LAYER}.intermediate.dense.{name}", 3e5)
    scaled(model, f"{LAYER}.output.dense.weight", 1 / 3e5)
    return model, one.feeds(3, 11)


def test_a_model_that_fits_keeps_nothing_back(captured, seen):
    one = captured("bert", "text-classification")
    model, _ = one.canonical()
    evidence = find_kept(model.graph, FP16, seen(model, one.feeds(3, 11)))
    assert evidence.kept == () and evidence.unobserved == () and evidence.operators > 40


def test_a_planted_overflow_is_isolated_to_the_operators_that_write_or_read_it(planted, seen, run_graph):
    model, feeds = planted
    ranges = seen(model, feeds)
    evidence = find_kept(model.graph, FP16, ranges)
    assert {kept.node for kept in evidence.kept} == BEYOND
    first = evidence.kept[0]
    assert first.operator == "MatMul" and first.layer == "layer.1"
    assert first.peak == pytest.approx(ranges.peaks[first.node]) and first.peak > 65504
    assert first.share == pytest.approx(first.peak / 65504)
    assert first.reason.startswith(f"its output reaches {first.peak:.3g} on the calibration texts, ")
    wanted = run_graph(model, feeds)["logits"]
    narrow(model, FP16, evidence.reasons())
    found = run_graph(model, feeds)["logits"]
    np.testing.assert_allclose(found, wanted, atol=1e-2 * np.sqrt(np.mean(wanted**2)))


def test_without_the_evidence_the_planted_overflow_breaks_fp16(planted, run_graph):
    model, feeds = planted
    wanted = run_graph(model, feeds)["logits"]
    narrow(model, FP16)
    found = run_graph(model, feeds)["logits"]
    assert not np.allclose(found, wanted, atol=1e-2 * np.sqrt(np.mean(wanted**2)))


def test_bf16_has_room_for_it(planted, seen):
    model, feeds = planted
    assert find_kept(model.graph, BF16, seen(model, feeds)).kept == ()


@pytest.mark.parametrize(("share", "kept"), [(0.99, False), (1.01, True)])
def test_a_value_needs_headroom_for_texts_that_were_not_seen(share, kept):
    model = read("y = Tanh(x)")
    ranges = peaks(y=share * 65504 / HEADROOM)
    assert bool(find_kept(model.graph, FP16, ranges).kept) is kept


@pytest.mark.parametrize(("largest", "kept"), [(65504.0, False), (65520.0, True)])
def test_a_weight_needs_none_but_has_to_fit(largest, kept):
    model = read("t = MatMul(x, w) y = Add(t, b)", w=np.diag([1, 2, 3, largest]), b=np.ones(4))
    found = find_kept(model.graph, FP16, None).kept
    assert [one.node for one in found] == ["t"] * kept
    if kept:
        assert found[0].reason == "w reaches 6.55e+04, 100% of what fp16 holds" and found[0].share > 1


def test_a_weight_that_is_used_many_times_keeps_every_use_of_it():
    model = read("t = MatMul(x, w) u = Tanh(t) y = MatMul(u, w)", w=np.eye(4) * 1e5)
    assert [kept.node for kept in find_kept(model.graph, FP16, None).kept] == ["t", "y"]


def test_a_normalisation_spelt_out_keeps_its_squares_and_its_sums():
    body = "s = Pow(x, two) m = ReduceMean(s, axes) r = Sqrt(m) y = Div(x, r)"
    model = read(body, two=2.0)
    axes = ir.Value(
        name="axes", const_value=ir.tensor(np.array([-1]), name="axes"), type=ir.TensorType(ir.DataType.INT64)
    )
    model.graph.register_initializer(axes)
    model.graph[1].replace_input_with(1, axes)
    kept = {one.node: one.reason for one in find_kept(model.graph, FP16, peaks(s=9e4, m=2e3, r=45.0, y=6.0)).kept}
    assert set(kept) == {"s", "m"}
    assert "it reads s" in kept["m"]
    alone = find_kept(model.graph, FP16, peaks(s=9.0, m=2.0, r=1.4, y=6.0)).kept
    assert [one.node for one in alone] == ["m"] and "adds many numbers up" in alone[0].reason


def test_a_mask_fill_beyond_the_range_is_kept_away_from_fp16():
    model = read("t = Add(x, fill) y = Softmax(t)", fill=np.full(4, np.finfo(np.float32).min))
    found = find_kept(model.graph, FP16, peaks(t=3.4e38, y=1.0)).kept
    assert [one.node for one in found] == ["t", "y"]


ATTENTION = "y = Attention<q_num_heads = 2, kv_num_heads = 2>(q, k, v)"
SIGNATURE = "(float[b, n, 8] a, float[b, n, 8] c) => (float[b, n, 8] y)"


@pytest.mark.parametrize(("largest", "kept"), [(180.0, False), (182.0, True)])
def test_attention_is_kept_where_its_scores_could_overflow(largest, kept):
    model = read(f"q = Tanh(a) k = Tanh(c) v = Tanh(a) {ATTENTION}", SIGNATURE)
    # Four numbers a head, scaled by 1/2: 2 x 181 x 181 is 65522.
    found = find_kept(model.graph, FP16, peaks(q=largest, k=largest, v=1.0, y=1.0)).kept
    assert [one.node for one in found] == ["y"] * kept
    if kept:
        assert found[0].reason == "its scores can reach 6.62e+04, 101% of what fp16 holds"


def test_small_weights_that_vanish_are_reported_and_keep_nothing():
    weight = np.eye(4)
    weight[0, 1:] = 1e-9, 2e-8, 3e-5
    evidence = find_kept(read("y = MatMul(x, w)", w=weight).graph, FP16, None)
    (lost,) = evidence.lost
    assert (lost.weight, lost.size, lost.vanished, lost.rounded) == ("w", 16, 2, 1)
    assert lost.error < 1e-7 and evidence.kept == ()


def test_a_factor_that_vanishes_keeps_its_product():
    evidence = find_kept(read("t = MatMul(x, w) y = Mul(t, s)", w=np.eye(4) * 1e-8, s=1e8).graph, FP16, None)
    assert {kept.node for kept in evidence.kept} == {"t", "y"}
    assert evidence.kept[0].reason == "w would lose 100% of itself: fp16 is exact from 6.1e-05 on"


def test_a_bias_that_vanishes_changes_nothing():
    evidence = find_kept(read("t = MatMul(x, w) y = Add(t, b)", w=np.eye(4), b=np.full(4, 1e-9)).graph, FP16, None)
    assert evidence.kept == () and [lost.weight for lost in evidence.lost] == ["b"]


def test_what_nobody_saw_is_counted():
    evidence = find_kept(read("t = Tanh(x) y = Tanh(t)").graph, FP16, peaks(t=1.0))
    assert evidence.unobserved == ("y",)


OFFSET = {
    "layer.1.output.dense.Add",
    "layer.1.output.Add",
    "layer.1.output.LayerNorm.LayerNormalization",
}


@pytest.fixture
def far_off(captured, seen):
    """A BERT whose second feed-forward layer adds 2000, which its LayerNorm takes away; ranges, losses and feeds."""
    one = captured("bert", "text-classification")
    model, _ = one.canonical()
    bias = model.graph.initializers[f"{LAYER}.output.dense.bias"]
    bias.const_value = ir.tensor(bias.const_value.numpy() + np.float32(2000), name=bias.name)
    feeds = one.feeds(4, 11, "none")
    return model, replace(seen(model, feeds), losses=measure_losses(model, [feeds])), feeds


def test_digits_that_bf16_would_lose_are_isolated_to_who_writes_and_reads_them(far_off):
    model, ranges, _ = far_off
    evidence = find_kept(model.graph, BF16, ranges)
    assert {kept.node for kept in evidence.kept} == OFFSET
    worst = max(evidence.kept, key=lambda kept: kept.loss)
    assert worst.loss > 0.5 and worst.layer == "layer.1" and worst.peak == pytest.approx(2000, rel=0.05)
    assert "to bf16 costs" in worst.reason and f"{LOSS:.0%} may be lost" in worst.reason
    # They are nothing that fp16's range would show; it has eight times the digits.
    assert find_kept(model.graph, FP16, ranges).kept == ()


def test_with_them_in_float32_bf16_says_what_float32_says(far_off, tmp_path, run_graph):
    model, ranges, feeds = far_off
    wanted = run_graph(model, feeds)["logits"]
    apart = []
    for kept in ({}, find_kept(model.graph, BF16, ranges).reasons()):
        graph = model.clone()
        narrow(graph, BF16, kept)
        ir.save(graph, tmp_path / "graph.onnx")
        found = check_lowered(tmp_path / "graph.onnx", feeds)["logits"]
        apart.append(np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)))
    assert apart[0] > 0.1 and apart[1] < 0.02


def test_evidence_says_what_was_looked_at_where_nothing_is_kept(captured, seen):
    one = captured("bert", "text-classification")
    model, _ = one.canonical()
    feeds = one.feeds(4, 11, "none")
    ranges = replace(seen(model, feeds), losses=measure_losses(model, [feeds]))
    found = find_kept(model.graph, BF16, ranges).to_dict()
    assert found["kept"] == 0 and found["operators"] > 40 and found["unobserved"] == 0
    assert 0 < found["loss"] < LOSS == found["loss_allowed"] and found["loss_at"] in {node.name for node in model.graph}
    assert found["largest"] == max(ranges.peaks.values())
    half = find_kept(model.graph, FP16, ranges).to_dict()
    assert half["share"] == pytest.approx(half["largest"] / 65504) and "loss" not in half
