"""Where things lie: names with spaces and other scripts, paths of every kind, disks that are full or read-only."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

BVX = [sys.executable, "-c", "import sys; from bvx.exporter.cli import main; sys.exit(main())"]

PLACES = {
    "relative": "mein Bündel.bvx",
    "relative, with a slash": "./mein Bündel.bvx/",
    "upwards": "../ein Ordner 漢/mein Bündel.bvx",
    "absolute": "{folder}/mein Bündel.bvx",
}


@pytest.fixture(scope="session")
def shelf(classifier, tmp_path_factory):
    """A folder that holds a bundle, both with names that need care."""
    folder = tmp_path_factory.mktemp("shelf") / "ein Ordner 漢"
    shutil.copytree(classifier, folder / "mein Bündel.bvx")
    (folder / "zwei Texte é.txt").write_text("one\ntwo\n")
    return folder


@pytest.mark.parametrize("place", PLACES)
def test_a_bundle_is_found_by_any_path(bvx, monkeypatch, shelf, place):
    monkeypatch.chdir(shelf)
    bundle = PLACES[place].format(folder=shelf)
    assert bvx("inspect", bundle).code == 0
    assert bvx("verify", bundle).code == 0
    texts = [one["text"] for one in bvx("run", bundle, "--input", "zwei Texte é.txt", "--json").document["answers"]]
    assert texts == ["one", "two"]


def test_a_bundle_is_found_from_within(bvx, monkeypatch, shelf):
    monkeypatch.chdir(shelf / "mein Bündel.bvx")
    assert bvx("run", ".", "a").code == 0


def test_a_checkpoint_and_a_folder_for_the_bundle_are_taken_by_relative_paths(bvx, tiny_checkpoint, tmp_path):
    tiny_checkpoint("bert", "feature-extraction", tmp_path / "ein Modell é", num_hidden_layers=1)
    done = bvx("export", "./ein Modell é/", "--out", "neuer Ordner 漢/b.bvx", "--json")
    assert done.code == 0, done.err
    assert done.document["path"] == str(tmp_path / "neuer Ordner 漢" / "b.bvx")
    assert json.loads((tmp_path / "neuer Ordner 漢" / "b.bvx" / "bvx.json").read_text())


NEW_DISK = """
mount -t tmpfs -o "$1" none "$2" || exit 99
folder=$2; shift 2
"$@"; code=$?
ls -A "$folder" >&2
exit $code
"""
"""A command for which a folder is a disk of its own; then what lies on that disk."""

MOUNTED = """
mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" || exit 99
bundle=$2; shift 2
"$@" run "$bundle" text -q && "$@" verify "$bundle" -q && "$@" inspect "$bundle"
"""
"""Three commands for a bundle that is mounted elsewhere, read-only, as containers do."""


def apart(script, *words):
    """Run `script` where mounting concerns nobody else; its exit code, and the lines of stderr."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare (Linux) is needed")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *map(str, words)], capture_output=True, text=True
    )
    if done.returncode == 99 or "unshare:" in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    return done.returncode, done.stderr.splitlines()


@pytest.fixture
def disk(tmp_path):
    (tmp_path / "a disk").mkdir()
    return tmp_path / "a disk"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("size=64k", ("The disk that holds ", " is full, so the bundle was not written. Free some space")),
        ("ro", ("cannot be written (Read-only file system). Choose an --out that you may write to.",)),
    ],
    ids=["full", "read-only"],
)
def test_an_export_to_such_a_disk_is_refused_in_a_sentence_and_leaves_nothing(
    tiny_checkpoint, tmp_path, disk, options, words
):
    folder = tiny_checkpoint("bert", "feature-extraction", tmp_path / "tiny", num_hidden_layers=1)
    code, said = apart(NEW_DISK, options, disk, *BVX, "export", folder, "--out", disk / "b.bvx", "-q")
    assert code == 1
    (sentence,) = said
    assert all(part in sentence for part in words)


def test_a_disk_that_json_lines_fill_keeps_what_was_answered_and_it_says_how_to_go_on(classifier, tmp_path, disk):
    (tmp_path / "in").write_text('"a text"\n' * 3000)
    run = [*BVX, "run", classifier, "--jsonl", "--input", tmp_path / "in"]
    to_disk = ["sh", "-c", 'out=$1; shift; "$@" > "$out"', "sh", disk / "out", *run]
    code, (answered, error, *left) = apart(NEW_DISK, "size=64k", disk, *to_disk)
    assert (code, left) == (1, ["out"])
    assert answered.startswith("Answered up to line ")
    assert "--skip" in answered
    assert error.startswith("Error: The system says: No space left on device")


def test_a_bundle_that_is_mounted_read_only_is_run_verified_and_inspected(classifier, disk):
    assert apart(MOUNTED, classifier, disk, *BVX) == (0, [])
