"""`verify`: with golden values where there is no torch, against the live model where there is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from bvx.exporter.pipeline import export
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.exporter.verification import verify
from bvx.runtime.errors import BundleError, CheckpointError, EngineMismatch

FEATURES = "feature-extraction"

WITHOUT_TORCH = """
import sys
for name in ("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "huggingface_hub"):
    sys.modules[name] = None
from bvx.exporter.verification import verify
print(bool(verify(sys.argv[1])))
"""


def drop_mask(graph: ir.Graph) -> None:
    for node in graph:
        if node.op_type == "Attention":
            node.replace_input_with(3, None)


def test_golden_values_are_checked_where_neither_torch_nor_onnx_is_installed(
    exported: Callable, mutated: Callable, tmp_path: Path
) -> None:
    original = exported("bert", FEATURES)
    for bundle, passes in ((original.bundle, "True"), (mutated(original, drop_mask), "False")):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, str(bundle)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == passes, done.stderr


def test_a_good_bundle_passes_with_golden_values_and_against_its_model(exported: Callable) -> None:
    original = exported("roberta", FEATURES)
    offline = verify(original.bundle)
    live = verify(original.bundle, str(original.folder), bisect=True)
    assert offline and live
    assert [report.variant for report in live.reports] == ["fp32/cpu"]
    assert len(live.reports[0].rows) > len(offline.reports[0].rows) / 2
    assert live.divergences == ()
    assert json.loads(json.dumps(live.to_dict()))["passed"] is True


def test_bisecting_names_the_operator_that_differs_from_pytorch(exported: Callable, mutated: Callable) -> None:
    original = exported("bert", FEATURES)
    found = verify(mutated(original, drop_mask), str(original.folder), bisect=True)
    assert not found
    assert [each.node for each in found.divergences] == ["layer.0.attention.self.Attention"]
    assert found.to_dict()["divergences"][0]["operator"] == "Attention"


def test_bisecting_a_variant_without_a_model_compares_it_with_the_canonical_graph(
    exported: Callable, tmp_path: Path
) -> None:
    bundle = with_variant_of_its_own(exported("bert", FEATURES).bundle, tmp_path / "bundle")
    found = verify(bundle, bisect=True)
    assert not found
    assert [each.node for each in found.divergences] == ["layer.0.attention.self.Attention"]


def test_bisecting_the_canonical_graph_without_a_model_asks_for_one(exported: Callable, mutated: Callable) -> None:
    progress = Silent()
    found = verify(mutated(exported("bert", FEATURES), drop_mask), bisect=True, progress=progress)
    assert not found and found.divergences == ()
    assert any("--against MODEL" in warning for warning in progress.warnings)


def test_random_weights_are_drawn_again_with_the_bundles_own_seed(tmp_path: Path, exported: Callable) -> None:
    folder = tmp_path / "shape"
    folder.mkdir()
    shutil.copy(exported("bert", FEATURES).folder / "config.json", folder)
    export(ExportPlan(str(folder), tmp_path / "bundle", task=FEATURES, random_weights=True, seed=3))
    assert verify(tmp_path / "bundle", str(folder))


def test_a_model_of_another_family_task_or_size_is_refused_in_a_sentence(
    exported: Callable, tiny_checkpoint: Callable, tmp_path: Path
) -> None:
    bundle = exported("bert", FEATURES).bundle
    wider = tiny_checkpoint("bert", FEATURES, tmp_path / "wider", intermediate_size=64)
    with pytest.raises(CheckpointError, match=r"bert for feature-extraction with [\d,]+ parameters.*wider has [\d,]+"):
        verify(bundle, str(wider))
    with pytest.raises(CheckpointError, match=r"bert for feature-extraction.*'roberta'"):
        verify(bundle, str(exported("roberta", FEATURES).folder))
    with pytest.raises(CheckpointError, match=r"bert for text-classification.*classifier"):
        verify(exported("bert", "text-classification").bundle, str(exported("bert", FEATURES).folder))


def test_what_the_bundle_does_not_have_is_refused(exported: Callable) -> None:
    bundle = exported("bert", FEATURES).bundle
    with pytest.raises(BundleError, match="int8"):
        verify(bundle, precision="int8")
    with pytest.raises(EngineMismatch, match="no engine 'abacus'"):
        verify(bundle, engine="abacus")


def with_variant_of_its_own(original: Path, target: Path) -> Path:
    """A copy of the bundle whose variant is a file of its own, wrong, beside the right canonical graph."""
    import hashlib

    bundle = Path(shutil.copytree(original, target))
    model = ir.load(bundle / "onnx/model.onnx")
    drop_mask(model.graph)
    (bundle / "onnx/cpu").mkdir(exist_ok=True)
    path = bundle / "onnx/cpu/fp32.onnx"
    ir.save(model, path)
    manifest = json.loads((bundle / "bvx.json").read_text())
    content = path.read_bytes()
    entry = {"path": "onnx/cpu/fp32.onnx", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"] = [each for each in manifest["files"] if each["path"] != entry["path"]] + [entry]
    manifest["variants"][0]["file"] = entry["path"]
    (bundle / "bvx.json").write_text(json.dumps(manifest))
    return bundle
