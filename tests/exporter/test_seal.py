"""Sealing: the target is the old bundle, nothing, or the complete new one; and nothing else is left behind."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
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


def test_an_interruption_between_the_two_steps_puts_the_old_bundle_back(tmp_path, monkeypatch):
    out = export(tmp_path / "b")
    monkeypatch.setattr(seal, "exchange", lambda left, right: False)
    rename = os.rename

    def interrupted(source, destination):
        if Path(destination) == out and Path(source).name == "bundle":
            raise KeyboardInterrupt
        rename(source, destination)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(out, "two", overwrite=True)
    assert content_of(out) == "one"
    assert not left_behind(tmp_path, "b")


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_block_ends_it_and_one_while_cleaning_up_waits(tmp_path, monkeypatch, number):
    remove, ends = shutil.rmtree, (KeyboardInterrupt, SystemExit)

    def remove_while_interrupted(*arguments, **options):
        signal.raise_signal(number)
        remove(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", remove_while_interrupted)
    before = signal.getsignal(number)
    with pytest.raises(ends), staging(tmp_path / "new"):
        signal.raise_signal(number)
        pytest.fail("the block went on")
    assert not left_behind(tmp_path)
    with pytest.raises(ends):
        export(tmp_path / "b")
    assert content_of(tmp_path / "b") == "one"
    assert not left_behind(tmp_path, "b")
    assert signal.getsignal(number) is before


def test_a_program_that_handles_a_signal_itself_goes_on_doing_so(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with staging(tmp_path / "new"):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_a_bundle_is_written_outside_the_main_thread_too(tmp_path):
    thread = threading.Thread(target=export, args=[tmp_path / "b"])
    thread.start()
    thread.join()
    assert content_of(tmp_path / "b") == "one"


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


def test_the_folder_of_a_living_run_is_left_alone(tmp_path):
    with staging(tmp_path / "b") as first:
        export(tmp_path / "b")
        assert first.folder.is_dir()
        with pytest.raises(BundleError, match="already"):
            publish(first, manifest("late"))
    assert content_of(tmp_path / "b") == "one"
    assert not left_behind(tmp_path, "b")


def stale(parent, name, *children):
    work = parent / name
    for child in ("bundle", *children):
        (work / child).mkdir(parents=True)
    (work / "bundle" / "half.onnx").write_text("half")
    (work / "lock").touch()
    return work


def test_only_working_folders_of_this_target_are_removed(tmp_path):
    stale(tmp_path, ".b.bvx-0123abcd")
    kept = [
        stale(tmp_path, ".b.bvx-other.bvx-0123abcd"),
        stale(tmp_path, ".c.bvx-0123abcd"),
        stale(tmp_path, ".b.bvx-4567abcd", "precious"),
    ]
    export(tmp_path / "b")
    assert left_behind(tmp_path, "b") == {path.name for path in kept}


def test_a_bundle_that_a_killed_run_moved_aside_is_put_back(tmp_path):
    out = export(tmp_path / "b")
    out.rename(stale(tmp_path, ".b.bvx-0123abcd") / "old")
    with pytest.raises(BundleError, match="already"):
        export(out, "two")
    assert content_of(out) == "one"
    assert not left_behind(tmp_path, "b")


def test_exchange_swaps_two_folders(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this kernel or filesystem cannot exchange two folders")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "absent")


CHILD = """
import sys
from itertools import count
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import importlib.util
spec = importlib.util.spec_from_file_location("seal_test", sys.argv[2])
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
if sys.argv[4] == "in two steps":
    test.seal.exchange = lambda left, right: False
print("ready", flush=True)
for number in count():
    test.export(Path(sys.argv[3]), f"{sys.argv[5]}-{number}", overwrite=True, files=8)
"""


def killed_child(out, way, name, after, signal_):
    """Run a child that exports over and over, end it after some seconds, and return its exit status."""
    import bvx

    package_parent = str(Path(next(iter(bvx.__path__))).parent)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, package_parent, __file__, str(out), way, name], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout as output:
        assert output.readline() == b"ready\n"
        time.sleep(after)
        child.send_signal(signal_)
        return child.wait(timeout=30)


@pytest.mark.parametrize("way", ["in one step", "in two steps"])
def test_a_run_that_is_killed_leaves_the_old_bundle_or_the_new_one(tmp_path, way):
    chance = random.Random(way)
    out = tmp_path / "b"
    was_there = False
    for attempt in range(6):
        killed_child(out, way, f"run{attempt}", chance.uniform(0.0, 0.05), signal.SIGKILL)
        if out.exists():
            content_of(out)
        elif way == "in one step":
            assert not was_there
        with staging(tmp_path / "b", overwrite=True):
            pass  # the next run clears away what the killed one left, and puts back what it had moved aside
        assert out.exists() or not was_there
        was_there = out.exists()
        if was_there:
            content_of(out)
        assert not left_behind(tmp_path, "b")
    export(out, "last", overwrite=True)
    assert content_of(out) == "last"
    assert not left_behind(tmp_path, "b")


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_leaves_nothing_behind(tmp_path, signal_):
    status = killed_child(tmp_path / "b", "in one step", "run", 0.03, signal_)
    assert status != 0
    assert not left_behind(tmp_path, "b")
    if (tmp_path / "b").exists():
        content_of(tmp_path / "b")
