"""What is written for TensorRT, in every precision and family, computed as it stands: it says what fp32 said."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.calibration.plain import plain_recipe
from bvx.exporter.families import known_families
from bvx.exporter.reference import check_lowered
from bvx.exporter.targets import LOWERINGS

TENSORRT = {one.precision: one for one in LOWERINGS if one.target == "tensorrt"}
FAR = {"fp32": 1e-6, "fp16": 5e-3, "bf16": 2.5e-2, "int8": 5e-2, "fp8": 0.35}
"""The largest difference beside the root mean square of the logits: about twice what the five families reach."""


@pytest.mark.parametrize("precision", list(FAR))
@pytest.mark.parametrize("family", sorted(known_families()))
def test_a_family_says_in_a_precision_what_it_said_in_fp32(family, precision, captured, seen, run_graph, tmp_path):
    one = captured(family, "text-classification", num_attention_heads=2)
    model, _ = one.canonical()
    feeds = one.feeds(4, 13)
    wanted = run_graph(model, feeds)["logits"]
    TENSORRT[precision].rewrite(model, plain_recipe(model.graph, seen(model, feeds), embeddings=False))
    ir.save(model, tmp_path / "graph.onnx")
    found = check_lowered(tmp_path / "graph.onnx", feeds)["logits"]
    off = float(np.abs(found - wanted).max() / np.sqrt(np.mean(wanted**2)))
    assert np.isfinite(found).all() and off < FAR[precision], off


def test_every_precision_for_tensorrt_is_among_them():
    assert set(FAR) == set(TENSORRT)
