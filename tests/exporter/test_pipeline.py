"""The road from a checkpoint to a bundle: what it writes, what it refuses, and that it leaves nothing half done."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

import bvx
from bvx.exporter import pipeline
from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.parity import reference
from bvx.exporter.passes import CANONICAL, run_passes
from bvx.exporter.pipeline import ExportResult, export
from bvx.exporter.plan import ExportPlan
from bvx.exporter.storage import save_graph
from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import BundleError, BvxError, ParityFailed, PlanError
from bvx.runtime.external_data import external_locations
from bvx.runtime.manifest import PassLog, Profile

TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("bert", "feature-extraction", tmp_path_factory.mktemp("pipeline") / "tiny-bert")


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """An export with every layer's hidden states."""
    return export(ExportPlan(str(checkpoint), tmp_path_factory.mktemp("out") / "bundle", hidden_states=True))


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class Watcher:
    """Writes down what an export says of itself."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None]] = []
        self.units = 0
        self.warnings: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append((name, total))

    def advance(self, units: int = 1, detail: str = "") -> None:
        self.units += units

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)


def test_a_bundle_holds_what_the_ecosystem_reads_and_nothing_else(made: ExportResult) -> None:
    graph = {"onnx/model.onnx", "golden.safetensors", "config.json", "bvx.json"}
    assert files_in(made.path) == graph | TOKENIZER
    assert {entry.path for entry in made.manifest.files} == files_in(made.path) - {"bvx.json"}
    assert (made.path / "golden.safetensors").stat().st_size <= 2_000_000


def test_the_manifest_says_what_the_bundle_is(made: ExportResult, checkpoint: Path) -> None:
    manifest = Bundle.open(made.path).manifest
    assert manifest == made.manifest
    assert (manifest.family, manifest.task, manifest.max_length) == ("bert", "feature-extraction", 64)
    assert (manifest.model.id, manifest.model.random, manifest.model.seed) == ("tiny-bert", False, None)
    assert manifest.bvx_version == bvx.__version__
    assert [(spec.name, spec.dtype, spec.shape) for spec in manifest.inputs] == [
        (name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    assert [(spec.name, spec.dtype, spec.shape) for spec in manifest.outputs] == [
        ("last_hidden_state", "float32", ("batch", "sequence", 32)),
        ("pooler_output", "float32", ("batch", 32)),
        *((f"hidden_states.{index}", "float32", ("batch", "sequence", 32)) for index in range(4)),
    ]
    assert manifest.input_limits == {"input_ids": 500, "token_type_ids": 2}
    assert {"torch", "transformers", "onnx", "onnxruntime"} <= set(manifest.tools)


def test_every_pass_is_logged_in_its_order(made: ExportResult) -> None:
    logs = made.manifest.passes["canonical"]
    assert [log.name for log in logs] == [one.__name__ for one in CANONICAL]
    applied = {log.name: log.applied for log in logs if log.applied}
    assert applied["split_heads_inside"] == 3
    assert applied["expand_mask_once"] and applied["transpose_weights"] and applied["name_layers"]


def test_the_proof_is_in_the_result_and_in_the_manifest(made: ExportResult) -> None:
    (report,) = made.reports
    (variant,) = made.manifest.variants
    assert report and variant.state == "verified" and variant.verified_on == {"engine": report.engine, **report.machine}
    assert [dict(row) for row in made.manifest.parity["fp32/cpu"]] == [row.to_dict() for row in report.rows]
    assert {row.output for row in report.rows} == {output.name for output in made.manifest.outputs}
    with bvx.load(made.path) as encoder:
        again = encoder.verify()
    assert again and {row.output for row in again.rows} == {row.output for row in report.rows}


def test_hidden_states_are_served_where_they_were_asked_for(made: ExportResult, checkpoint: Path) -> None:
    model = load_checkpoint(ExportPlan(str(checkpoint), Path("unused"))).model
    with bvx.load(made.path) as encoder:
        feeds = encoder.tokenize(["a cat", "and a much longer text than that"])
        found = encoder.run(**feeds)
    names = ["last_hidden_state", "pooler_output", *(f"hidden_states.{index}" for index in range(4))]
    assert list(found) == names
    for name, expected in reference(model, feeds, names).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)
    assert np.array_equal(found["hidden_states.3"], found["last_hidden_state"])


def test_an_export_says_what_it_is_doing(checkpoint: Path, tmp_path: Path) -> None:
    watcher = Watcher()
    result = export(ExportPlan(str(checkpoint), tmp_path / "bundle"), watcher)
    assert [name for name, _ in watcher.stages] == ["load", "capture", "passes", "lower", "parity fp32/cpu", "seal"]
    assert watcher.units == sum(total for _, total in watcher.stages if total)
    assert watcher.warnings == []
    assert [output.name for output in result.manifest.outputs] == ["last_hidden_state", "pooler_output"]


def test_the_same_checkpoint_makes_the_same_files(made: ExportResult, checkpoint: Path, tmp_path: Path) -> None:
    again = export(ExportPlan(str(checkpoint), tmp_path / "bundle", hidden_states=True))
    assert {entry.path: entry.sha256 for entry in again.manifest.files} == {
        entry.path: entry.sha256 for entry in made.manifest.files
    }


def snapshot(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_a_bundle_is_replaced_only_when_asked_for(made: ExportResult, checkpoint: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(made.path, tmp_path / "bundle"))
    before = snapshot(out)
    with pytest.raises(BundleError, match="--overwrite"):
        export(ExportPlan(str(checkpoint), out))
    assert snapshot(out) == before
    result = export(ExportPlan(str(checkpoint), out, overwrite=True))
    assert result.path == out
    assert len(Bundle.open(out).manifest.outputs) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_is_no_bundle_is_not_replaced_however_it_is_asked(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(BundleError, match="is not a bundle"):
        export(ExportPlan(str(checkpoint), tmp_path / "thesis", overwrite=True))
    assert files_in(tmp_path) == {"thesis/chapter.txt"}


def perturb(model: ir.Model) -> PassLog:
    """One layer's weight is a little off."""
    (node,) = (node for node in model.graph if node.name == "layer.1.output.dense.MatMul")
    weight = node.inputs[1]
    assert weight is not None and weight.const_value is not None
    weight.const_value = ir.tensor(weight.const_value.numpy() * np.float32(1.05), name=weight.name)
    return PassLog("perturb", 1)


@pytest.fixture
def perturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every export goes wrong in its second layer."""
    monkeypatch.setattr(pipeline, "run_passes", functools.partial(run_passes, passes=(*CANONICAL, perturb)))


@pytest.mark.usefixtures("perturbed")
def test_nothing_is_published_when_parity_fails_and_the_place_is_named(
    tiny_checkpoint: Callable[..., Path], made: ExportResult, tmp_path: Path
) -> None:
    checkpoint = tiny_checkpoint("bert", "feature-extraction", tmp_path / "checkpoint", initializer_range=0.4)
    home = tmp_path / "out"
    old = Path(shutil.copytree(made.path, home / "old"))
    before = snapshot(old)
    for out, overwrite in ((home / "new", False), (old, True)):
        with pytest.raises(ParityFailed) as failed:
            export(ExportPlan(str(checkpoint), out, overwrite=overwrite))
        assert failed.value.exit_code == 3
        words = str(failed.value)
        assert "output 'last_hidden_state'" in words or "output 'pooler_output'" in words
        assert "layer.1" in words and "length" in words and "Nothing was written" in words
    assert [path.name for path in home.iterdir()] == ["old"]
    assert snapshot(old) == before


@pytest.mark.parametrize("broken", ["_write_files", "lower", "prove", "publish"])
def test_nothing_is_left_behind_wherever_an_export_breaks(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, captured: Callable
) -> None:
    """The capture is one of before: what it costs says nothing here."""

    def stop(*arguments: object) -> None:
        raise BvxError("Stopped.", "Go on.")

    graph, logs = captured("bert", "feature-extraction", num_hidden_layers=3).canonical()
    monkeypatch.setattr(pipeline, "make_canonical", lambda *arguments: (graph, logs))
    if broken == "publish":
        monkeypatch.setattr(pipeline, "prove", lambda folder, manifest, *rest: (manifest, ()))
    monkeypatch.setattr(pipeline, broken, stop)
    with pytest.raises(BvxError, match="Stopped"):
        export(ExportPlan(str(checkpoint), tmp_path / "a" / "b" / "bundle"))
    assert list(tmp_path.iterdir()) == []


PAUSING = """
import sys, time
import onnx_ir as ir
from bvx.exporter import cli, pipeline
def pause(*arguments):
    print("here", flush=True)
    time.sleep(600)
setattr(pipeline, sys.argv.pop(1), pause)
graph = sys.argv.pop(1)
pipeline.make_canonical = lambda *arguments: (ir.load(graph), ())
sys.exit(cli.main())
"""
"""`bvx export`, which says so and waits when it comes to the step that the first argument names.

The graph that the second one names spares it the capture, before which nothing is written.
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_an_export_that_is_killed_leaves_no_half_bundle(made: ExportResult, checkpoint: Path, tmp_path: Path) -> None:
    """Killed when only the tokenizer is written, when all but the proof is, and when all but the renaming is."""
    old = Path(shutil.copytree(made.path, tmp_path / "publish"))
    before = snapshot(old)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with ExitStack() as stack:
        running = []
        for step in ("lower", "prove", "publish"):
            words = [PAUSING, step, str(made.path / "onnx/model.onnx")]
            words += ["export", str(checkpoint), "--out", str(tmp_path / step), "--overwrite", "--quiet"]
            process = subprocess.Popen(
                [sys.executable, "-c", *words], stderr=subprocess.PIPE, text=True, env=environment
            )
            running.append(stack.enter_context(process))
            stack.callback(process.kill)
        for process in running:
            # The command keeps stdout for its answer, so that the word comes out here.
            assert process.stderr is not None and process.stderr.readline() == "here\n"
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["publish"]
    assert snapshot(old) == before
    left = sorted(path.name.partition(".bvx-")[0] for path in tmp_path.iterdir() if path.name.startswith("."))
    assert left == [".lower", ".prove", ".publish"]
    # The next export to the same place clears away what the killed one left, and nothing of the others'.
    result = export(ExportPlan(str(checkpoint), old, overwrite=True))
    assert len(Bundle.open(result.path).manifest.outputs) == 2
    left = sorted(path.name.partition(".bvx-")[0] for path in tmp_path.iterdir())
    assert left == [".lower", ".prove", "publish"]


@pytest.fixture(scope="module")
def split(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose weights lie beside the graph, as if they were more than protobuf can hold."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "save_graph", functools.partial(save_graph, external_beyond=1000))
        return export(ExportPlan(str(checkpoint), tmp_path_factory.mktemp("split") / "bundle")).path


def test_weights_beside_the_graph_are_part_of_the_bundle(split: Path) -> None:
    assert external_locations(split / "onnx" / "model.onnx") == ("model.onnx_data",)
    assert "onnx/model.onnx_data" in {entry.path for entry in Bundle.open(split).manifest.files}
    assert (split / "onnx" / "model.onnx_data").stat().st_size > (split / "onnx" / "model.onnx").stat().st_size


@pytest.mark.parametrize("way", ["moved", "linked", "relative", "from inside"])
def test_a_bundle_with_weights_beside_its_graph_opens_from_anywhere(
    split: Path, made: ExportResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    moved = Path(shutil.copytree(split, tmp_path / "else where" / "é.bvx"))
    if way == "linked":
        (tmp_path / "link").symlink_to(moved, target_is_directory=True)
        path = str(tmp_path / "link")
    elif way == "relative":
        monkeypatch.chdir(tmp_path)
        path = "else where/é.bvx"
    elif way == "from inside":
        monkeypatch.chdir(moved / "onnx")
        path = ".."
    else:
        path = str(moved)
    with bvx.load(path) as encoder, bvx.load(made.path) as whole:
        np.testing.assert_allclose(encoder("a cat"), whole("a cat"), atol=1e-6)
        assert encoder.verify()


def test_weights_beside_the_graph_that_were_changed_are_refused(split: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(split, tmp_path / "copy"))
    weights = copy / "onnx" / "model.onnx_data"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match="SHA-256"):
        bvx.load(copy)
    weights.unlink()
    with pytest.raises(BundleError, match="missing"):
        bvx.load(copy)


def test_a_full_size_albert_stays_as_small_as_its_weights(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    result = export(ExportPlan("albert-base-v2", tmp_path / "bundle", task="fill-mask", random_weights=True))
    assert torch.get_num_threads() == threads
    weights = 4 * result.manifest.model.parameters
    assert 44e6 < weights < 48e6
    assert (result.path / "onnx" / "model.onnx").stat().st_size <= 1.03 * weights
    assert result.manifest.model.random and result.manifest.model.seed == 0
    json.loads((result.path / "config.json").read_text())


def test_profiles_are_kept_and_may_not_reach_beyond_the_model(checkpoint: Path, tmp_path: Path) -> None:
    longest = load_checkpoint(ExportPlan(model=str(checkpoint), out=tmp_path / "x")).max_length
    fitting = Profile((1, 2), (2, 8), (4, longest))
    result = export(ExportPlan(model=str(checkpoint), out=tmp_path / "fits", profiles=(fitting,)))
    assert Bundle.open(result.path).manifest.profiles == (fitting,)
    beyond = Profile((1, 2), (2, 8), (4, longest + 1))
    with pytest.raises(PlanError, match=f"reaches to {longest + 1} tokens; this model takes at most {longest}"):
        export(ExportPlan(model=str(checkpoint), out=tmp_path / "beyond", profiles=(beyond,)))
    assert not (tmp_path / "beyond").exists()
