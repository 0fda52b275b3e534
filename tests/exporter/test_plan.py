"""A plan is checked once, and all its faults are reported together."""

from __future__ import annotations

from pathlib import Path

import pytest

from bvx.exporter.plan import ExportPlan
from bvx.exporter.supported import PRECISIONS, TARGETS
from bvx.exporter.targets import LOWERINGS
from bvx.runtime.errors import BundleError, BvxError, CheckpointError, PlanError
from bvx.runtime.manifest import Profile


def fault(plan: ExportPlan) -> str:
    with pytest.raises(PlanError) as refused:
        plan.check()
    return str(refused.value)


def fault_on_disk(kind: type[BvxError], plan: ExportPlan) -> str:
    with pytest.raises(kind) as refused:
        plan.check()
    assert refused.value.exit_code == 1
    assert refused.value.next_step
    return str(refused.value)


def test_a_plain_plan_is_fine(tmp_path: Path):
    profile = Profile((1, 16), (8, 128), (32, 512))
    ExportPlan("roberta-base", tmp_path / "new" / "bundle", profiles=(profile,)).check()
    ExportPlan("roberta-base", tmp_path, random_weights=True).check()


def test_all_faults_come_together(tmp_path: Path):
    (tmp_path / "file").write_text("")
    plan = ExportPlan(
        "nowhere-near",
        tmp_path / "file",
        task="poetry",
        family="xlnet",
        revision="main",
        precisions=("fp32", "fp3"),
        targets=("abacus",),
        profiles=(Profile((8, 8), (4, 8), (8, 8)), Profile((0, 1), (1, 1), (1, 1))),
        random_weights=True,
    )
    said = fault(plan)
    for part in ("nowhere-near", "'poetry'", "'xlnet'", "'fp3'", "'abacus'", "8x8:4x8:8x8", "0x1:1x1:1x1", "a file"):
        assert part in said
    assert "for 9 reasons" in said


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"model": " "}, "No model"),
        ({"precisions": ()}, "No precision"),
        ({"targets": ()}, "No target"),
        ({"precisions": ("fp32", "fp32")}, "more than once"),
        ({"task": "poetry"}, "feature-extraction"),
        ({"model": "roberta-bas", "random_weights": True}, "Did you mean roberta-base"),
        ({"model": "roberta-base", "random_weights": True, "revision": "main"}, "--revision"),
    ],
)
def test_one_fault_is_said_plainly(changes: dict, part: str, tmp_path: Path):
    said = fault(ExportPlan(**{"model": "roberta-base", "out": tmp_path / "out", **changes}))
    assert part in said and "reasons" not in said


def test_a_bundle_that_is_there_needs_overwrite(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    ExportPlan("roberta-base", out).check()
    (out / "bvx.json").write_text("{}")
    assert "--overwrite" in fault_on_disk(BundleError, ExportPlan("roberta-base", out))
    ExportPlan("roberta-base", out, overwrite=True).check()


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, overwrite: bool):
    (tmp_path / "thesis.tex").write_text("years of work")
    said = fault_on_disk(BundleError, ExportPlan("roberta-base", tmp_path, overwrite=overwrite))
    assert "not a bundle" in said and "Pass --overwrite" not in said


def test_the_checkpoint_is_never_overwritten(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    assert "own folder" in fault_on_disk(BundleError, ExportPlan(str(tmp_path), tmp_path, overwrite=True))


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert "is a file" in fault_on_disk(BundleError, ExportPlan("roberta-base", tmp_path / "file" / "out"))


def test_a_mistyped_word_weighs_more_than_what_the_disk_says(tmp_path: Path):
    (tmp_path / "bvx.json").write_text("{}")
    said = fault(ExportPlan("./nothing", tmp_path, task="poetry"))
    assert "for 3 reasons" in said and "no folder ./nothing" in said and "--overwrite" in said


@pytest.mark.parametrize("random_weights", [True, False])
@pytest.mark.parametrize("model", ["./nothing", "/nowhere/at/all", "~/nothing here", "a/b/c", "nothing/", ".\\nothing"])
def test_what_looks_like_a_path_is_a_missing_folder_and_no_hub_id(tmp_path: Path, model: str, random_weights: bool):
    plan = ExportPlan(model, tmp_path / "out", random_weights=random_weights)
    assert f"no folder {model}" in fault_on_disk(CheckpointError, plan)


def test_a_file_is_no_checkpoint(tmp_path: Path):
    (tmp_path / "model.safetensors").write_text("")
    said = fault_on_disk(CheckpointError, ExportPlan(str(tmp_path / "model.safetensors"), tmp_path / "out"))
    assert "is a file" in said and str(tmp_path) in said.rpartition("Pass the folder")[2]


def test_what_may_be_asked_for_is_what_there_is_a_lowering_for():
    assert {(target, precision) for target, precisions in TARGETS.items() for precision in precisions} == {
        (lowering.target, lowering.precision) for lowering in LOWERINGS
    }
    assert set(PRECISIONS) == {lowering.precision for lowering in LOWERINGS}


def test_a_local_folder_has_no_revision(tmp_path: Path):
    assert "--revision" in fault(ExportPlan(str(tmp_path), tmp_path / "out", revision="main"))


def test_random_weights_may_take_the_configuration_of_a_folder(tmp_path: Path):
    plan = ExportPlan(str(tmp_path), tmp_path / "out", random_weights=True)
    assert "no config.json" in fault_on_disk(CheckpointError, plan)
    (tmp_path / "config.json").write_text("{}")
    ExportPlan(str(tmp_path), tmp_path / "out", random_weights=True).check()
