"""Rules about attention, held against NVIDIA's compiler, which builds Attention fused or not at all."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from bvx.exporter.checker import check

from .conftest import graph, node

DTYPES = {"FLOAT16": np.float16, "BFLOAT16": ml_dtypes.bfloat16, "FLOAT": np.float32}
ONE = np.array([1])
MASK = [
    node("Cast", "mask", "bool", to=9),
    node("Unsqueeze", "bool axes", "rows"),
    node("Shape", "mask", "L", start=1, end=2),
    node("Concat", "one one L one", "shape", axis=0),
    node("Expand", "rows shape", "all"),
]


def attention(size=32, dtype="FLOAT16", outputs="y", kv_heads=2, mask=True, **attributes):
    """Two heads of `size`, projected from x, with a padding mask where asked for."""
    width = 2 * size
    random = np.random.default_rng(0)
    weights = {name: (random.normal(size=(width, width)) / 8).astype(DTYPES[dtype]) for name in ("wq", "wk", "wv")}
    nodes = [node("MatMul", f"x w{name}", name) for name in "qkv"]
    if mask:
        nodes = [*MASK, *nodes]
        weights |= {"axes": np.array([1, 2]), "one": ONE}
    heads = {"q_num_heads": 2, "kv_num_heads": kv_heads, **attributes}
    nodes.append(node("Attention", "q k v all" if mask else "q k v", outputs, **heads))
    shape = ("B", "L", width)
    inputs = {"x": (dtype, shape)} | ({"mask": ("INT64", ("B", "L"))} if mask else {})
    return graph(nodes, weights, inputs, {"y": (dtype, shape)})


def rules_of(model):
    return {finding.rule for finding in check(model)}


@pytest.mark.parametrize("dtype", ["FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("size", [16, 64])
def test_in_half_precision_attention_is_one_kernel_and_its_projections_one_gemm(build, dtype, size):
    model = attention(size, dtype)
    assert not check(model)
    layers = build(model).layers
    assert sum("_gemm_mha" in name for name, _, _ in layers) == 1
    assert sum(kind == "gemm" for _, kind, _ in layers) == 1


@pytest.mark.parametrize("size", [24, 256])
def test_head_sizes_in_steps_of_8_are_built(build, size):
    assert not check(attention(size))
    assert build(attention(size))


@pytest.mark.parametrize("size", [4, 8, 12, 20, 264])
def test_other_head_sizes_are_refused_by_both(build, size):
    assert rules_of(attention(size)) == {"fused-head-size"}
    assert not build(attention(size))


def test_fp32_is_refused_by_both(build):
    assert rules_of(attention(dtype="FLOAT")) == {"attention-in-half"}
    assert not build(attention(dtype="FLOAT"))


@pytest.mark.parametrize(
    "model",
    [
        attention(softcap=20.0),
        attention(outputs="y - - scores"),
        attention(is_causal=1),
        attention(kv_heads=1),
    ],
    ids=["softcap", "scores", "causal and masked", "other heads"],
)
def test_other_forms_are_refused_by_both(build, model):
    assert rules_of(model) == {"plain-attention"}
    assert not build(model)


def test_causal_attention_without_a_mask_is_built(build):
    model = attention(mask=False, is_causal=1)
    assert not check(model)
    assert build(model)
