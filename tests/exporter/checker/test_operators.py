"""Rules about operators, held against NVIDIA's parser."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from bvx.exporter.checker import check
from bvx.exporter.checker.operators import UNSUPPORTED

from .conftest import graph, node


def rules_of(model, **options):
    return {finding.rule for finding in check(model, **options)}


def test_the_table_of_unsupported_operators_is_the_parsers_own(rtx):
    logger = rtx.Logger(rtx.Logger.ERROR)
    builder = rtx.Builder(logger)
    network = builder.create_network()
    parser = rtx.OnnxParser(network, logger)
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    refused = {name for name in standard if not parser.supports_operator(name)}
    assert refused == (UNSUPPORTED & standard) - {"NonZero"}


NON_ZERO = graph([node("NonZero", "x", "y")], outputs={"y": ("INT64", (3, "n"))})
DYNAMIC = graph(
    [node("DynamicQuantizeLinear", "x", "y s z")], inputs={"x": "FLOAT"}, outputs={"y": "UINT8", "s": ("FLOAT", ())}
)
COMPUTED_AXES = graph(
    [node("ReduceMean", "x axes", "y")],
    inputs={"x": "FLOAT16", "axes": ("INT64", (1,))},
    outputs={"y": ("FLOAT16", ("B", "L", "K"))},
)
GAIN = {"g": np.ones(64, np.float16)}
STATISTICS = graph([node("LayerNormalization", "x g", "y m v", axis=-1)], GAIN)


@pytest.mark.parametrize(
    ("rule", "model"),
    [
        ("supported-operators", NON_ZERO),
        ("supported-operators", DYNAMIC),
        ("constant-axes", COMPUTED_AXES),
        ("one-normalisation-output", STATISTICS),
    ],
    ids=["NonZero", "DynamicQuantizeLinear", "axes", "LayerNormalization"],
)
def test_what_the_rule_refuses_the_builder_refuses(build, rule, model):
    assert rule in rules_of(model)
    assert not build(model)


@pytest.mark.parametrize(
    "model",
    [
        graph([node("ReduceMean", "x a", "y")], {"a": np.array([-1])}, outputs={"y": ("FLOAT16", ("B", "L", 1))}),
        graph([node("LayerNormalization", "x g", "y", axis=-1)], GAIN),
    ],
    ids=["axes", "LayerNormalization"],
)
def test_what_no_rule_refuses_is_built(build, model):
    assert not check(model)
    assert build(model)


def test_another_runtimes_operators_are_refused_though_rtx_reads_their_name(build):
    model = graph([node("Gelu", "x", "y", domain="com.microsoft")], domains=["com.microsoft"])
    assert rules_of(model) == {"standard-operators"}
    assert build(model)


def test_attention_is_refused_only_before_10_14():
    model = graph([node("Attention", "x x x", "y", q_num_heads=2, kv_num_heads=2)])
    assert "attention-since-10.14" in rules_of(model, version=(10, 13))
    assert "attention-since-10.14" not in rules_of(model, version=(10, 14))
    assert "attention-since-10.14" not in rules_of(model, version=(11, 0))
