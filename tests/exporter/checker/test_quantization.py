"""Rules about Q/DQ, held against NVIDIA's builder: what it refuses, and which GEMMs it computes in int8."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.exporter.checker import check

from .conftest import graph, node

RANDOM = np.random.default_rng(0)
W8 = RANDOM.integers(-127, 128, (64, 64)).astype(np.int8)
S, Z = np.float16(0.02), np.int8(0)
SCALES, ZEROS = np.full(64, 0.01, np.float16), np.zeros(64, np.int8)

ACTIVATION = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d")]
WEIGHT = [node("DequantizeLinear", "w ws wz", "wd", axis=1)]
GEMM = [node("MatMul", "d wd", "y")]
STORED = {"s": S, "z": Z, "w": W8, "ws": SCALES, "wz": ZEROS}


def rules_of(model):
    return {finding.rule for finding in check(model)}


def int8_gemms(built):
    return sum(kind == "gemm" and dtype == "Int8" for _, kind, dtype in built.layers)


GOOD = graph([*ACTIVATION, *WEIGHT, *GEMM], STORED)


def test_the_right_form_breaks_no_rule_and_computes_in_int8(build):
    assert not check(GOOD)
    assert int8_gemms(build(GOOD)) == 1


def without(*names):
    return {name: array for name, array in STORED.items() if name not in names}


TRANSPOSED = [node("Transpose", "w", "wt", perm=[1, 0]), node("DequantizeLinear", "wt ws wz", "wd", axis=1)]
LOOKED_UP = [node("Gather", "w i", "g"), node("DequantizeLinear", "g s z", "wd")]
BLOCKS = {"ws": np.full((4, 64), 0.01, np.float16), "wz": np.zeros((4, 64), np.int8)}
BIASED = [
    node("MatMul", "d wd", "m"),
    node("DequantizeLinear", "b s", "bd"),
    node("Add", "m bd", "y"),
]

REFUSED = {
    "zero point": ("symmetric-zero-point", graph([*ACTIVATION, *WEIGHT, *GEMM], STORED | {"z": np.int8(3)})),
    "uint8": ("signed-int8", graph([*ACTIVATION, *WEIGHT, *GEMM], STORED | {"z": np.uint8(128)})),
    "scale of 0": ("positive-scale", graph([*ACTIVATION, *WEIGHT, *GEMM], STORED | {"s": np.float16(0)})),
    "negative scale": ("positive-scale", graph([*ACTIVATION, *WEIGHT, *GEMM], STORED | {"s": np.float16(-1)})),
    "scale of another type": ("one-float-type", graph([*ACTIVATION, *WEIGHT, *GEMM], STORED | {"s": np.float32(0.1)})),
    "blocks": (
        "no-int8-blocks",
        graph([*ACTIVATION, node("DequantizeLinear", "w ws wz", "wd", axis=0, block_size=16), *GEMM], STORED | BLOCKS),
    ),
    "int32 bias": (
        "no-int32-dequantize",
        graph([*ACTIVATION, *WEIGHT, *BIASED], STORED | {"b": np.arange(64, dtype=np.int32)}),
    ),
    "one name twice": (
        "distinct-names",
        graph([ACTIVATION[0], node("DequantizeLinear", "q s z", "d", "DequantizeLinear wd"), *WEIGHT, *GEMM], STORED),
    ),
    "the name of a weight": (
        "distinct-names",
        graph([*ACTIVATION, node("DequantizeLinear", "w ws wz", "wd", "w", axis=1), *GEMM], STORED),
    ),
    "transposed int8": ("int8-weight-beside-dequantize", graph([*ACTIVATION, *TRANSPOSED, *GEMM], STORED)),
    "int8 looked up": (
        "int8-weight-beside-dequantize",
        graph([*ACTIVATION, *LOOKED_UP, *GEMM], STORED | {"i": np.arange(64)}),
    ),
}


@pytest.mark.parametrize(("rule", "model"), REFUSED.values(), ids=REFUSED)
def test_what_the_rule_refuses_the_builder_refuses(build, rule, model):
    assert rule in rules_of(model)
    assert not build(model)


STRICTER = {
    "uint8 with zero point 0": ("signed-int8", graph([*ACTIVATION, *WEIGHT, *GEMM], STORED | {"z": np.uint8(0)})),
    "computed scale": (
        "stored-scale",
        graph([node("ReduceMax", "x", "s", keepdims=0), *ACTIVATION, *WEIGHT, *GEMM], without("s")),
    ),
    "scale as input": (
        "stored-scale",
        graph([*ACTIVATION, *WEIGHT, *GEMM], without("s"), inputs={"x": "FLOAT16", "s": ("FLOAT16", ())}),
    ),
    "no axis": ("written-axis", graph([*ACTIVATION, node("DequantizeLinear", "w ws wz", "wd"), *GEMM], STORED)),
}


@pytest.mark.parametrize(("rule", "model"), STRICTER.values(), ids=STRICTER)
def test_where_a_rule_is_stricter_the_builder_accepts(build, rule, model):
    assert rules_of(model) == {rule}
    assert build(model)


CHANNELS = [node("QuantizeLinear", "x cs cz", "q", axis=2), node("DequantizeLinear", "q cs cz", "d", axis=2)]
SLOW = {
    "activation per channel": (
        "activation-per-tensor",
        graph([*CHANNELS, *WEIGHT, *GEMM], without("s", "z") | {"cs": np.full(64, 0.02, np.float16), "cz": ZEROS}),
    ),
    "weight only": ("both-sides-quantised", graph([*WEIGHT, node("MatMul", "x wd", "y")], without("s", "z"))),
    "activation only": (
        "both-sides-quantised",
        graph([*ACTIVATION, node("MatMul", "d f", "y")], {"s": S, "z": Z, "f": W8.astype(np.float16)}),
    ),
    "wrong axis": (
        "weight-axis",
        graph([*ACTIVATION, node("DequantizeLinear", "w ws wz", "wd", axis=0), *GEMM], STORED),
    ),
}


@pytest.mark.parametrize(("rule", "model"), SLOW.values(), ids=SLOW)
def test_what_a_rule_calls_slow_is_built_without_an_int8_gemm(build, rule, model):
    assert rules_of(model) == {rule}
    built = build(model)
    assert built
    assert int8_gemms(built) == 0


def projections(scales):
    """Q, K and V of one input, their weights with the scales of `scales`."""
    nodes, weights = list(ACTIVATION), {"s": S, "z": Z}
    for name in "qkv":
        stored = f"{name}w {name}s {name}z"
        axis = {"axis": 1} if np.ndim(scales) else {}
        # Of their own, because the builder stores equal weights once.
        values = RANDOM.integers(-127, 128, (64, 64)).astype(np.int8)
        nodes += [node("DequantizeLinear", stored, f"{name}d", **axis), node("MatMul", f"d {name}d", f"{name}y")]
        scales = scales * np.float16(1.5)
        weights |= {f"{name}w": values, f"{name}s": scales, f"{name}z": np.zeros(np.shape(scales), np.int8)}
    return graph(nodes, weights, outputs=dict.fromkeys(("qy", "ky", "vy"), "FLOAT16"))


def test_scales_per_tensor_keep_the_projections_apart(build):
    whole, apart = projections(SCALES), projections(np.float16(0.01))
    assert not check(whole)
    assert rules_of(apart) == {"weight-per-channel"}
    assert int8_gemms(build(whole)) == 1
    assert int8_gemms(build(apart)) == 3


def test_a_finding_says_where_why_and_what_to_do():
    (finding,) = check(graph([*WEIGHT, node("MatMul", "x wd", "y")], without("s", "z")))
    assert finding.node == "MatMul y"
    assert "Only its weight" in finding.reason
    assert finding.remedy.endswith(".")
