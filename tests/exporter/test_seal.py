"""Sealing: the target is the old bundle, nothing, or the complete new one; and nothing else is left behind."""

import errno
import os
from pathlib import Path

import pytest

from bvx.exporter import seal
from bvx.exporter.exchange import exchange
from bvx.exporter.seal import publish, staging
from bvx.runtime.bundle import MANIFEST, Bundle
from bvx.runtime.errors import BundleError, PlanError
from bvx.runtime.manifest import FORMAT, Manifest, ModelInfo


def manifest(name="tiny"):
    return Manifest(
        format=FORMAT,
        bvx_version="0.1.0",
        model=ModelInfo(name, None, True, 1),
        family="bert",
        task="feature-extraction",
        head={},
        inputs=(),
        outputs=(),
        max_length=8,
        tokenizer=None,
        variants=(),
        files=(),
    )


def export(out, content="one", overwrite=False, files=2):
    """Make a bundle whose every file says `content`."""
    with staging(out, overwrite) as stage:
        for number in range(files):
            path = stage.folder / "onnx" / f"{number}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content * 1000)
        return publish(stage, manifest(content))


def content_of(out):
    """What the complete bundle in `out` says; opening checks every hash."""
    bundle = Bundle.open(out)
    said = {path.read_text()[: len(bundle.manifest.model.id)] for path in (out / "onnx").iterdir()}
    assert said == {bundle.manifest.model.id}
    return bundle.manifest.model.id


def left_behind(folder, *expected):
    return {path.name for path in folder.iterdir()} - set(expected)


@pytest.fixture(params=["in one step", "in two steps"])
def way(request, monkeypatch):
    """Both ways to replace a bundle: with the kernel's exchange, and where there is none."""
    if request.param == "in two steps":
        monkeypatch.setattr(seal, "exchange", lambda left, right: False)
    return request.param


def test_a_published_bundle_opens_and_lists_every_file(tmp_path):
    out = export(tmp_path / "new.bvx")
    assert out == tmp_path / "new.bvx"
    assert [entry.path for entry in Bundle.open(out).manifest.files] == ["onnx/0.txt", "onnx/1.txt"]
    assert not left_behind(tmp_path, "new.bvx")


def test_others_may_read_a_bundle_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        out = export(tmp_path / "new.bvx")
    finally:
        os.umask(before)
    assert (out.stat().st_mode & 0o777) == 0o755
    assert ((out / MANIFEST).stat().st_mode & 0o777) == 0o644


def test_missing_folders_above_are_made_and_go_again_on_failure(tmp_path):
    with pytest.raises(PlanError), staging(tmp_path / "a" / "b" / "new.bvx"):
        raise PlanError("no")
    assert not left_behind(tmp_path)
    assert content_of(export(tmp_path / "a" / "b" / "new.bvx")) == "one"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "new.bvx").mkdir()
    assert content_of(export(tmp_path / "new.bvx")) == "one"


def test_a_bundle_is_replaced_only_when_asked_for(tmp_path, way):
    out = export(tmp_path / "b")
    with pytest.raises(BundleError, match="--overwrite"):
        export(out, "two")
    assert content_of(out) == "one"
    export(out, "two", overwrite=True)
    assert content_of(out) == "two"
    assert not left_behind(tmp_path, "b")


def test_a_bundle_that_appears_at_the_last_moment_is_not_replaced_unasked(tmp_path, monkeypatch, way):
    check = seal.check_target

    def check_then_lose_the_race(out, overwrite=False):
        target = check(out, overwrite)
        if (tmp_path / "other").exists():
            os.rename(tmp_path / "other", out)
        return target

    with staging(tmp_path / "b") as stage:
        export(tmp_path / "other", "other's")
        monkeypatch.setattr(seal, "check_target", check_then_lose_the_race)
        with pytest.raises((BundleError, OSError)):
            publish(stage, manifest())
    assert content_of(tmp_path / "b") == "other's"
    assert not left_behind(tmp_path, "b")


def test_a_link_to_a_bundle_stays_a_link_to_the_new_one(tmp_path, way):
    export(tmp_path / "real" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "b")
    export(tmp_path / "link", "two", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert content_of(tmp_path / "link") == "two"
    assert not left_behind(tmp_path / "real", "b")


def test_the_refusal_comes_before_any_work(tmp_path):
    export(tmp_path / "b")
    with pytest.raises(BundleError), staging(tmp_path / "b"):
        pytest.fail("the block ran")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_and_a_folder_that_is_no_bundle_are_never_touched(tmp_path, overwrite):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    with pytest.raises(BundleError, match="is a file"):
        export(tmp_path / "file", overwrite=overwrite)
    with pytest.raises(BundleError, match="is not a bundle"):
        export(tmp_path / "folder", overwrite=overwrite)
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "mine"
    assert not left_behind(tmp_path, "file", "folder")


def test_a_bundle_that_holds_files_of_others_is_not_replaced(tmp_path):
    out = export(tmp_path / "b")
    (out / "notes").mkdir()
    (out / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes/mine\.txt"):
        export(out, "two", overwrite=True)
    assert content_of(out) == "one"


@pytest.mark.parametrize("text", ["{}", "not json", '{"format": 1, "files": 3}'])
def test_a_folder_with_some_other_bvx_json_is_not_replaced(tmp_path, text):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match="cannot be told to be a bundle"):
        export(tmp_path / "b", overwrite=True)
    assert (tmp_path / "b" / MANIFEST).read_text() == text


def test_a_damaged_bundle_may_be_replaced(tmp_path):
    out = export(tmp_path / "b")
    (out / "onnx" / "0.txt").unlink()
    export(out, "two", overwrite=True)
    assert content_of(out) == "two"


@pytest.mark.parametrize("error", [PlanError("no"), ValueError(), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_a_failed_run_leaves_what_was_there(tmp_path, error):
    with pytest.raises(type(error)), staging(tmp_path / "new") as stage:
        (stage.folder / "half.onnx").write_text("half")
        raise error
    assert not left_behind(tmp_path)
    out = export(tmp_path / "b")
    with pytest.raises(type(error)), staging(out, overwrite=True) as stage:
        (stage.folder / "half.onnx").write_text("half")
        raise error
    assert content_of(out) == "one"
    assert not left_behind(tmp_path, "b")


def test_what_would_not_open_is_not_published(tmp_path):
    with pytest.raises(BundleError, match="not a readable ONNX model"), staging(tmp_path / "new") as stage:
        (stage.folder / "broken.onnx").write_text("broken")
        publish(stage, manifest())
    assert not left_behind(tmp_path)


def test_a_link_in_the_bundle_is_not_published(tmp_path):
    with pytest.raises(BundleError, match="is a link"), staging(tmp_path / "new") as stage:
        (stage.folder / "link").symlink_to("/etc/hostname")
        publish(stage, manifest())
    assert not left_behind(tmp_path)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write: No space left on device (os error 28)")],
    ids=["OSError", "wrapped"],
)
def test_a_full_disk_is_explained(tmp_path, error):
    with pytest.raises(BundleError, match="is full") as caught, staging(tmp_path / "new"):
        raise error
    assert "Free some space" in caught.value.next_step
    assert not left_behind(tmp_path)


def test_a_disk_that_fills_while_hashing_or_flushing_changes_nothing(tmp_path, monkeypatch, way):
    out = export(tmp_path / "b")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="is full"):
        export(out, "two", overwrite=True)
    assert content_of(out) == "one"
    assert not left_behind(tmp_path, "b")


def test_a_parent_that_may_not_be_written_to_is_explained(tmp_path, monkeypatch):
    make = Path.mkdir

    def forbidden(self, *arguments, **options):
        if self.name.startswith(".new."):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        make(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", forbidden)
    with pytest.raises(BundleError, match="Permission denied") as caught:
        export(tmp_path / "new")
    assert "--out" in caught.value.next_step


def test_a_parent_that_is_a_file_is_explained(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file" / "new", tmp_path / "file" / "deeper" / "new"):
        with pytest.raises(BundleError, match="cannot be written"):
            export(out)
    assert (tmp_path / "file").read_text() == "mine"


def test_an_error_about_another_file_is_not_blamed_on_the_target(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(PermissionError), staging(tmp_path / "out" / "new"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "elsewhere" / "weights"))


def test_exchange_swaps_two_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this kernel or filesystem cannot exchange two folders")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "absent")
