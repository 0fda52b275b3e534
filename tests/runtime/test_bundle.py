"""Opening bundles: from anywhere, whole, and never one that is damaged or reaches out of its folder."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from bvx.runtime.bundle import MANIFEST, Bundle
from bvx.runtime.errors import BundleError
from bvx.runtime.manifest import FORMAT, FileEntry, Manifest, ModelInfo, Variant

MODEL = "onnx/cpu/fp32.onnx"


def onnx_model(*locations):
    """An ONNX model with one inner weight, and one external weight per location."""
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])]
    for location in locations:
        weights.append(TensorProto(name=location, data_type=TensorProto.FLOAT, dims=[1]))
        weights[-1].data_location = TensorProto.EXTERNAL
        weights[-1].external_data.add(key="location", value=location)
    return helper.make_model(helper.make_graph([], "g", [], [], initializer=weights)).SerializeToString()


def manifest(root, variants):
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != MANIFEST]
    return Manifest(
        format=FORMAT,
        bvx_version="0.1.0",
        model=ModelInfo("tiny", None, True, 1),
        family="bert",
        task="feature-extraction",
        head={},
        inputs=(),
        outputs=(),
        max_length=8,
        tokenizer=None,
        variants=tuple(variants),
        files=tuple(
            FileEntry(
                path.relative_to(root).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
            )
            for path in files
        ),
    )


ONE_VARIANT = (Variant("fp32", "cpu", MODEL, "verified"),)


def make(root, contents, variants=ONE_VARIANT):
    """A bundle in `root` whose files and their hashes agree, however hostile the contents are."""
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / MANIFEST).write_text(manifest(root, variants).to_json())
    return root


@pytest.fixture
def root(tmp_path):
    return make(tmp_path / "tiny.bvx", {MODEL: onnx_model(), "tokenizer.json": b"{}", "config.json": b"{}"})


def edit(root, change):
    document = json.loads((root / MANIFEST).read_text())
    change(document)
    (root / MANIFEST).write_text(json.dumps(document))


def refused(path, **options):
    with pytest.raises(BundleError) as caught:
        Bundle.open(path, **options)
    assert caught.value.cause.endswith(".")
    assert caught.value.next_step
    return str(caught.value)


def test_a_bundle_opens_with_what_its_manifest_says(root):
    bundle = Bundle.open(root)
    assert bundle.root == root.resolve()
    assert bundle.manifest.model.id == "tiny"
    assert bundle.path(MODEL).read_bytes() == onnx_model()


def test_a_bundle_opens_after_it_was_moved_and_by_a_relative_path(root, monkeypatch):
    moved = root.rename(root.parent / "elsewhere")
    monkeypatch.chdir(moved.parent)
    assert Bundle.open("elsewhere").root == moved.resolve()
    monkeypatch.chdir(moved)
    assert Bundle.open(".").root == moved.resolve()


def test_a_bundle_opens_through_a_link_to_its_folder_or_above(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    (tmp_path / "up").symlink_to(tmp_path)
    assert Bundle.open(tmp_path / "link").root == root.resolve()
    assert Bundle.open(tmp_path / "up" / "tiny.bvx").root == root.resolve()


def test_a_link_inside_the_bundle_that_stays_inside_is_followed(root):
    (root / "tokenizer.json").unlink()
    (root / "tokenizer.json").symlink_to("config.json")
    assert Bundle.open(root).path("tokenizer.json") == root.resolve() / "config.json"


def test_files_that_the_manifest_does_not_list_are_ignored_and_not_served(root):
    (root / "notes.txt").write_text("mine")
    bundle = Bundle.open(root)
    assert not bundle.has("notes.txt")
    with pytest.raises(BundleError, match=r"lists no file 'notes\.txt'"):
        bundle.path("notes.txt")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "no folder" in refused(tmp_path / "absent")


def test_a_file_is_refused(root):
    assert "is a file; a bundle is a folder" in refused(root / MODEL)
    assert "is a file" in refused(root / MANIFEST)


def test_a_hugging_face_checkpoint_is_sent_to_export(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert f"bvx export {tmp_path}" in refused(tmp_path)


def test_some_other_folder_is_refused(tmp_path):
    assert f"no {MANIFEST}" in refused(tmp_path)


def test_a_link_in_circles_is_refused(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    refused(tmp_path / "a")


def test_a_nul_in_the_path_is_refused():
    refused("a\x00b")


@pytest.mark.parametrize("name", ["tokenizer.json", MODEL])
def test_a_missing_file_is_named(root, name):
    (root / name).unlink()
    assert f"{name} is missing" in refused(root)


@pytest.mark.parametrize("name", ["config.json", MODEL])
def test_a_truncated_file_is_named(root, name):
    (root / name).write_bytes((root / name).read_bytes()[:-1])
    said = refused(root)
    assert name in said
    assert "truncated" in said


@pytest.mark.parametrize("name", ["tokenizer.json", MODEL])
@pytest.mark.parametrize("check_hashes", [True, False])
def test_an_edited_small_file_is_named_whatever_was_asked_for(root, name, check_hashes):
    content = bytearray((root / name).read_bytes())
    content[-1] ^= 1
    (root / name).write_bytes(content)
    said = refused(root, check_hashes=check_hashes)
    assert name in said
    assert "was changed" in said


def test_a_large_file_is_hashed_unless_it_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("bvx.runtime.bundle._ALWAYS_HASHED", 100)
    root = make(tmp_path / "b", {MODEL: onnx_model("w.data"), "onnx/cpu/w.data": b"\x00" * 1000})
    (root / "onnx/cpu/w.data").write_bytes(b"\x01" * 1000)
    assert "w.data was changed" in refused(root)
    assert Bundle.open(root, check_hashes=False)


def test_weights_are_hashed_for_the_model_that_is_loaded_and_those_of_others_stay_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("bvx.runtime.bundle._ALWAYS_HASHED", 400)
    weights, other = "onnx/cpu/w.data", "onnx/cpu/int8.onnx"
    files = {MODEL: onnx_model("w.data"), weights: b"\x00" * 1000, other: onnx_model()}
    root = make(tmp_path / "b", files | {"golden.safetensors": b"\x00" * 1000})
    opened = Bundle.open(root, check_hashes=False)
    (root / weights).write_bytes(b"\x01" * 1000)
    opened.check_weights(other)
    with pytest.raises(BundleError, match=r"w\.data was changed"):
        opened.check_weights(MODEL)
    (root / "golden.safetensors").write_bytes(b"\x01" * 1000)
    with pytest.raises(BundleError, match=r"golden\.safetensors was changed"):
        opened.check_weights(other)


def test_a_git_lfs_pointer_is_told_from_a_truncated_file(root):
    (root / MODEL).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n")
    assert "git lfs pull" in refused(root)


@pytest.mark.parametrize("name", ["tokenizer.json", MANIFEST])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_is_refused(root, name):
    (root / name).unlink()
    (root / name).mkdir()
    assert "not a regular file" in refused(root)
    (root / name).rmdir()
    os.mkfifo(root / name)
    assert "not a regular file" in refused(root)


@pytest.mark.parametrize("keep", [0, 1, 100, -3])
def test_a_truncated_manifest_is_refused(root, keep):
    (root / MANIFEST).write_bytes((root / MANIFEST).read_bytes()[:keep])
    refused(root)


def test_a_manifest_that_is_no_text_is_refused(root):
    (root / MANIFEST).write_bytes(b"\xff\xfe{")
    assert "cannot be read" in refused(root)


def test_a_huge_manifest_is_refused_unread(root):
    with (root / MANIFEST).open("r+b") as file:
        file.truncate(17 * 2**20)
    assert "bytes" in refused(root)


def test_a_manifest_nested_without_end_is_refused(root):
    (root / MANIFEST).write_text('{"format": 1, "head": ' + "[" * 200_000)
    assert "nested too deeply" in refused(root)


def test_a_newer_format_says_who_made_it_and_how_to_read_it(root):
    edit(root, lambda document: document.update(format=FORMAT + 1, bvx_version="7.0"))
    said = refused(root)
    assert "bvx 7.0" in said
    assert "pip install --upgrade bvx" in said


@pytest.mark.parametrize("path", ["../outside", "/etc/hostname", "onnx/../../outside", "C:\\outside", "..\\outside"])
def test_a_manifest_that_lists_a_path_outside_is_refused(root, path):
    (root.parent / "outside").write_text("secret")
    edit(root, lambda document: document["files"].append({"path": path, "sha256": "0" * 64, "bytes": 6}))
    assert "not a plain relative path" in refused(root)


@pytest.mark.parametrize("name", ["tokenizer.json", MODEL, MANIFEST])
def test_a_link_out_of_the_bundle_is_refused_though_its_content_is_right(root, name):
    outside = root.parent / "outside"
    (root / name).rename(outside)
    (root / name).symlink_to(outside)
    assert "leads out of the bundle" in refused(root)


def test_a_folder_that_links_out_of_the_bundle_is_refused(root):
    shutil.move(root / "onnx", root.parent / "outside")
    (root / "onnx").symlink_to(root.parent / "outside")
    assert "leads out of the bundle" in refused(root)


def test_a_sibling_whose_name_begins_alike_is_outside(root):
    twin = Path(f"{root}-twin")
    twin.mkdir()
    (root / "tokenizer.json").rename(twin / "tokenizer.json")
    (root / "tokenizer.json").symlink_to(twin / "tokenizer.json")
    assert "leads out of the bundle" in refused(root)


def test_a_hugging_face_cache_snapshot_says_how_to_copy_it(root, tmp_path):
    blobs, snapshot = tmp_path / "cache/blobs", tmp_path / "cache/snapshots/abc"
    blobs.mkdir(parents=True)
    for number, path in enumerate(path for path in root.rglob("*") if path.is_file()):
        shutil.copy(path, blobs / str(number))
        link = snapshot / path.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    said = refused(snapshot)
    assert f"cp -rL {snapshot}" in said
    assert "local_dir" in said
    shutil.copytree(snapshot, tmp_path / "copy", symlinks=False)
    assert Bundle.open(tmp_path / "copy")


def test_a_model_that_is_no_onnx_file_is_refused(tmp_path):
    assert "not a readable ONNX model" in refused(make(tmp_path / "b", {MODEL: b"not a model"}))


VARIANTS = (
    Variant("fp32", "cuda", MODEL, "not-runnable-here"),
    Variant("fp32", "cpu", MODEL, "verified"),
    Variant("int8", "cpu", MODEL, "failed"),
)


@pytest.fixture
def several(tmp_path):
    return Bundle.open(make(tmp_path / "several", {MODEL: onnx_model()}, VARIANTS))


def test_a_variant_is_chosen_by_precision_and_target(several):
    assert several.variant("fp32", "cuda").key == "fp32/cuda"
    assert several.variant(target="cpu").key == "fp32/cpu"


def test_a_verified_variant_is_chosen_before_others(several):
    assert several.variant().key == "fp32/cpu"
    assert several.variant("fp32").key == "fp32/cpu"


@pytest.mark.parametrize("asked", [("int8", None), ("fp16", None), (None, "tensorrt"), ("int8", "cpu")])
def test_a_variant_that_is_absent_or_failed_is_refused_with_a_list(several, asked):
    with pytest.raises(BundleError, match=r"fp32/cuda \(not-runnable-here\), fp32/cpu \(verified\), int8/cpu \(failed"):
        several.variant(*asked)
