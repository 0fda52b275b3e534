"""Attention taken apart says what it said, in every type, and is what TensorRT builds where it has no kernel."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bvx.exporter.checker import check
from bvx.exporter.families import known_families
from bvx.exporter.targets.attention import FILL, head_size, take_apart
from bvx.exporter.targets.half import FP16, narrow


def attentions(model: ir.Model) -> list[str]:
    return [str(node.name) for node in model.graph if node.op_type == "Attention"]


@pytest.mark.parametrize("family", sorted(known_families()))
def test_the_parts_say_what_the_whole_said_padded_and_masked_rows_included(family, captured, run_graph):
    one = captured(family, "text-classification")
    model, _ = one.canonical()
    feeds = one.feeds(4, 13)
    assert not feeds["attention_mask"][-1].any()
    wanted = run_graph(model, feeds)
    parts = take_apart(model.graph, attentions(model))
    assert len(parts) == 2 and not attentions(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_allclose(run_graph(model, feeds)["logits"], wanted["logits"], atol=2e-6)


def test_a_mask_of_keys_is_not_expanded_and_looked_through_once_for_all_layers(captured):
    model, _ = captured("bert", "text-classification").canonical()
    assert [node.op_type for node in model.graph].count("Expand") == 1
    take_apart(model.graph, attentions(model))
    operators = [node.op_type for node in model.graph]
    assert "Expand" not in operators and operators.count("ReduceMax") == 1 and operators.count("Where") == 2
    assert all(value.uses() for value in model.graph.initializers.values())


def test_a_mask_that_differs_between_queries_keeps_its_zeros_among_the_weights(captured, run_graph):
    one = captured("bert", "text-classification")
    model, _ = one.canonical()
    mask = next(node for node in model.graph if node.op_type == "Attention").inputs[3]
    mask.shape = ir.Shape((None, 1, None, None))
    mask.producer().inputs[0].shape = None
    feeds = one.feeds(4, 13)
    wanted = run_graph(model, feeds)["logits"]
    take_apart(model.graph, attentions(model))
    assert [node.op_type for node in model.graph].count("Where") == 4
    np.testing.assert_allclose(run_graph(model, feeds)["logits"], wanted, atol=2e-6)


def test_only_the_named_ones_are_taken_apart(captured):
    model, _ = captured("bert", "text-classification").canonical()
    first, second = attentions(model)
    assert list(take_apart(model.graph, [first])) == [first]
    assert attentions(model) == [second]


def test_the_parts_are_named_after_the_whole_and_its_output_keeps_its_name(captured):
    model, _ = captured("bert", "text-classification").canonical()
    whole = next(node for node in model.graph if node.op_type == "Attention")
    output, name, shape = whole.outputs[0].name, whole.name, whole.outputs[0].shape
    parts = take_apart(model.graph, [name])[name]
    assert all(str(node.name).startswith(f"{name}.") for node in parts.nodes)
    assert parts.nodes[-1].outputs[0].name == output and parts.nodes[-1].outputs[0].shape == shape


def test_what_tensorrt_has_no_kernel_for_passes_its_rules_once_it_is_taken_apart(captured):
    model, _ = captured("bert", "text-classification").canonical()
    assert {"attention-in-half", "fused-head-size"} <= {finding.rule for finding in check(model)}
    take_apart(model.graph, attentions(model))
    assert not [finding for finding in check(model) if finding.severity == "refused"]


def test_the_masks_fill_fits_fp16_and_weighs_nothing(captured, run_graph):
    assert np.isfinite(np.float16(FILL)) and np.exp(np.float16(FILL)) == 0
    one = captured("bert", "text-classification")
    model, _ = one.canonical()
    feeds = one.feeds(4, 13)
    wanted = run_graph(model, feeds)["logits"]
    take_apart(model.graph, attentions(model))
    narrow(model, FP16)
    np.testing.assert_allclose(run_graph(model, feeds)["logits"], wanted, atol=5e-3 * np.sqrt(np.mean(wanted**2)))


def test_attention_on_four_dimensions_is_left_alone():
    text = "t (float[b, 2, n, 8] q) => (float[b, 2, n, 8] y) { y = Attention(q, q, q) }"
    model = ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 23]> {text}'))
    model.graph[0].name = "Attention"
    assert head_size(model.graph[0]) == 8 and take_apart(model.graph, ["Attention"]) == {}
