"""Runs that are interrupted, killed, or side by side: nothing half done is ever seen, and nothing stays behind."""

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
from bvx.exporter.seal import publish, staging
from bvx.runtime.bundle import Bundle
from bvx.runtime.errors import BundleError
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
    command = [sys.executable, "-c", CHILD, package_parent, __file__, str(out), way, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(after)
        child.send_signal(signal_)
        try:
            return child.wait(timeout=30)
        finally:
            child.kill()


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


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nothing can be made")
def test_a_folder_in_which_nothing_can_be_made_is_given_up_with_a_sentence():
    with pytest.raises(BundleError, match="cannot be written"), staging(Path("/proc/model.bvx")):
        pass
