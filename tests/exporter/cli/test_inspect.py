"""`bvx inspect --check`: what TensorRT would say of a graph, on a machine that has no TensorRT."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def mixed(tmp_path):
    """An ONNX file that adds fp32 to fp16 twice."""
    nodes = [helper.make_node("Add", [*names[:2]], [names[2]], name=f"add {names[2]}") for names in ("xwa", "awy")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "mixed",
        [value("x", TensorProto.FLOAT16, ["B", 8])],
        [value("y", TensorProto.FLOAT16, ["B", 8])],
        [numpy_helper.from_array(np.zeros(8, np.float32), "w")],
    )
    path = tmp_path / "mixed.onnx"
    ir.save(ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])), path)
    return path


def test_a_file_that_tensorrt_would_refuse_is_named_with_rule_reason_and_remedy(bvx, mixed):
    done = bvx("inspect", mixed, "--check", "tensorrt")
    assert done.code == 1
    for words in ("one-float-type", "add a", "mixes FLOAT and FLOAT16", "Cast the inputs", "would refuse mixed.onnx"):
        assert words in done.out


def test_the_document_has_every_place(bvx, mixed):
    document = bvx("inspect", mixed, "--check", "tensorrt", "--json").document
    assert document["passed"] is False
    (checked,) = document["checked"]
    assert [finding["node"] for finding in checked["findings"]] == ["add a", "add y"]


def test_a_bundle_without_a_variant_for_the_target_is_refused_with_what_it_has(bvx, features):
    done = bvx("inspect", features, "--check", "tensorrt")
    assert done.code == 1
    assert "fp32/cpu" in done.err and "--target tensorrt" in done.err


def test_its_file_can_be_checked_all_the_same(bvx, features):
    done = bvx("inspect", features / "onnx/model.onnx", "--check", "tensorrt:10.13", "--json")
    assert {finding["rule"] for finding in done.document["checked"][0]["findings"]} >= {
        "attention-in-half",
        "attention-since-10.14",
    }


@pytest.mark.parametrize("asked", ["openvino", "tensorrt:ten", ""])
def test_what_cannot_be_checked_for_is_a_wrong_word(bvx, mixed, asked):
    done = bvx("inspect", mixed, "--check", asked)
    assert done.code == 2
    assert "tensorrt" in done.err
