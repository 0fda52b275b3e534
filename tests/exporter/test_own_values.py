"""What an int8 variant said when it was made tells a graph with one wrong number from the right one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import bvx
from bvx.exporter.calibration_plan import CalibrationPlan
from bvx.exporter.families import OWN_TOLERANCES
from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.runtime.bundle import MANIFEST, Bundle
from bvx.runtime.manifest import FileEntry
from bvx.runtime.parity import SAME_MACHINE

GRAPH = "onnx/model_int8.onnx"


@pytest.fixture(scope="module")
def bundle(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    checkpoint = tiny_checkpoint("roberta", "feature-extraction", folder / "checkpoint")
    calibration = CalibrationPlan(samples=24)
    return export(ExportPlan(str(checkpoint), folder / "bundle", precisions=("int8",), calibration=calibration)).path


def changed(bundle: Path, folder: Path, wanted: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Path:
    """A copy of the bundle in whose graph the initializer `wanted` has other numbers."""
    shutil.copytree(bundle, folder)
    model = onnx.load(folder / GRAPH)
    for tensor in model.graph.initializer:
        if tensor.name == wanted:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), wanted))
    onnx.save(model, folder / GRAPH)
    content = (folder / GRAPH).read_bytes()
    manifest = Bundle.open(bundle).manifest
    entry = FileEntry(GRAPH, hashlib.sha256(content).hexdigest(), len(content))
    files = tuple(entry if one.path == GRAPH else one for one in manifest.files)
    (folder / MANIFEST).write_text(replace(manifest, files=files).to_json())
    return folder


def verify(folder: Path, threads: int = 1):
    with bvx.load(folder, threads=threads, engine="onnxruntime", check_hashes=False) as model:
        return model.verify()


def inner(bundle: Path, kind: str, suffix: str) -> list[str]:
    """The initializers that nodes of `kind` inside the layers read as scales or zero points."""
    nodes = [node for node in onnx.load(bundle / GRAPH).graph.node if node.op_type == kind]
    names = {name for node in nodes for name in node.input[1:3] if name.endswith(suffix)}
    return sorted(name for name in names if "layer" in name)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_engine_says_the_same_whatever_its_threads(bundle, threads):
    report = verify(bundle, threads)
    own = [row for row in report.rows if row.against == "export"]
    assert report and own and max(row.max_abs for row in own) < 1e-5
    assert {row.tolerance for row in own} == {OWN_TOLERANCES[SAME_MACHINE]}


@pytest.mark.parametrize(
    ("kind", "suffix", "change"),
    [
        ("QuantizeLinear", ".scale", lambda array: array * 2),
        ("QuantizeLinear", ".zero_point", lambda array: array + np.asarray(16, array.dtype)),
        ("DequantizeLinear", "weight.scale", lambda array: array * 2),
    ],
    ids=["a scale twice as large", "a zero point shifted", "weights twice as large"],
)
def test_a_graph_with_one_wrong_number_fails(bundle, tmp_path, kind, suffix, change):
    names = inner(bundle, kind, suffix)
    assert len(names) > 2
    for place, wanted in enumerate((names[0], names[-1])):
        report = verify(changed(bundle, tmp_path / str(place), wanted, change))
        assert not report, wanted
        assert any(row.against == "export" and not row.passed for row in report.rows), wanted


def test_another_processor_is_allowed_what_rounding_to_integers_amplifies(bundle, monkeypatch):
    monkeypatch.setattr("bvx.runtime.machine.describe", lambda: {"cpu": "another"})
    rows = [row for row in verify(bundle).rows if row.against == "export"]
    assert rows and {row.tolerance for row in rows} == {OWN_TOLERANCES["int8"]}


def test_a_bundle_of_before_allows_its_own_values_what_the_precision_may_differ_by(bundle, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(bundle, folder)
    document = json.loads((folder / MANIFEST).read_text())
    del document["own_tolerances"]
    (folder / MANIFEST).write_text(json.dumps(document))
    report = verify(folder)
    assert report and len({row.tolerance for row in report.rows}) == 1
