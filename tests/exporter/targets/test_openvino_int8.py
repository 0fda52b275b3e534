"""OpenVINO runs the int8 graph that is made for ONNX Runtime: all linear layers in int8, as the recipe says."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bvx.calibration.sites import find_linears
from bvx.exporter.targets.cpu import write_int8
from bvx.exporter.targets.qdq.activations import unsigned
from bvx.runtime.engines import open_engine
from bvx.runtime.manifest import Variant

openvino = pytest.importorskip("openvino", reason="openvino is not installed: pip install bvx[openvino]")

CELLS = [("albert", "text-classification"), ("bert", "feature-extraction"), ("roberta", "fill-mask")]


@pytest.fixture(params=CELLS, ids="-".join)
def lowered(request, case_of, tmp_path):
    """A case, and the file of its int8 graph."""
    case = case_of(*request.param)
    model = case.graph.clone()
    write_int8(model, case.recipe)
    ir.save(model, tmp_path / "int8.onnx")
    return case, tmp_path / "int8.onnx"


def test_it_says_what_the_recipe_says_in_floats(lowered, imitate, run_graph):
    case, path = lowered
    engine = open_engine("openvino", path, Variant("int8", "cpu", path.name, "verified"), 1, False)
    wanted = run_graph(imitate(case.graph, case.recipe, unsigned), case.feeds)
    found = engine.run(case.feeds)
    plain = run_graph(case.graph, case.feeds)
    for name, value in wanted.items():
        # A sum in another order may put a value on the neighbouring step; a wrong scale puts all of them elsewhere.
        assert np.abs(found[name] - value).mean() < 0.3 * np.abs(plain[name] - value).mean() + 1e-6, name


def test_every_linear_layer_is_an_integer_product(lowered):
    case, path = lowered
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    products = [str(one["runtimePrecision"].value) for one in layers if one["layerType"].value == "FullyConnected"]
    assert len(products) == len(find_linears(case.graph.graph))
    assert set(products) <= {"u8", "i8"}
