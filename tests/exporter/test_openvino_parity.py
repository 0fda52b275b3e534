"""OpenVINO runs the very graphs that ONNX Runtime runs, and says what PyTorch says, rows of nothing but padding too."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.exporter.families import known_families
from bvx.runtime.engines import open_engine
from bvx.runtime.manifest import Variant

pytest.importorskip("openvino", reason="openvino is not installed: pip install bvx[openvino]")


@pytest.mark.parametrize("family", sorted(known_families()))
def test_every_family_agrees_with_pytorch_whatever_the_padding(captured, family, tmp_path):
    model = captured(family, "feature-extraction")
    graph, _ = model.canonical()
    path = tmp_path / "model.onnx"
    ir.save(graph, path)
    engine = open_engine("openvino", path, Variant("fp32", "cpu", path.name, "verified"), 1, False)
    for batch, length, padding in ((1, 7, "none"), (3, 16, "mixed"), (4, 5, "right")):
        feeds = model.feeds(batch, length, padding)
        assert batch < 3 or not feeds["attention_mask"][-1].any()
        wanted = model.reference(feeds)
        found = engine.run(feeds)
        assert set(found) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, atol=2e-4 * max(1.0, value.std()), err_msg=name)
