"""Bundles whose models refer to other files: to listed ones beside them, or they are refused."""

import hashlib
import json

import onnx
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


def test_external_data_that_is_listed_beside_its_model_is_accepted(tmp_path):
    root = make(tmp_path / "b", {MODEL: onnx_model("fp32.data"), "onnx/cpu/fp32.data": b"\x00" * 4})
    assert Bundle.open(root).path("onnx/cpu/fp32.data")


@pytest.mark.parametrize(
    "location",
    [
        "../../../outside", "/etc/passwd", "", ".", "..", "C:/outside", "..\\outside", "//server/share",
        "*/_ORT_MEM_ADDR_/*", "a/../../../../outside",
    ],
)  # fmt: skip
def test_external_data_outside_the_bundle_is_refused(tmp_path, location):
    (tmp_path / "outside").write_bytes(b"\x00" * 4)
    root = make(tmp_path / "b", {MODEL: onnx_model(location)})
    assert "not a plain relative path" in refused(root)


def test_external_data_in_a_folder_called_like_a_memory_address_is_refused(tmp_path):
    location = "*/_ORT_MEM_ADDR_/*"
    root = make(tmp_path / "b", {MODEL: onnx_model(location), f"onnx/cpu/{location}": b"\x00" * 4})
    assert "not a plain relative path" in refused(root)


def test_external_data_that_is_not_listed_is_refused(tmp_path):
    root = make(tmp_path / "b", {MODEL: onnx_model("w.data")})
    (root / "onnx/cpu/w.data").write_bytes(b"\x00" * 4)
    assert f"'w.data', which {MANIFEST} does not list" in refused(root)


def test_external_data_that_is_a_link_out_of_the_bundle_is_refused(tmp_path):
    root = make(tmp_path / "b", {MODEL: onnx_model("w.data"), "onnx/cpu/w.data": b"\x00" * 4})
    (root / "onnx/cpu/w.data").rename(tmp_path / "outside")
    (root / "onnx/cpu/w.data").symlink_to(tmp_path / "outside")
    assert "leads out of the bundle" in refused(root)


def test_external_data_is_looked_for_beside_the_real_model(tmp_path):
    root = make(tmp_path / "b", {"real/m.onnx": onnx_model("w.data"), MODEL: b"", "onnx/cpu/w.data": b"\x00" * 4})
    (root / MODEL).unlink()
    (root / MODEL).symlink_to("../../real/m.onnx")
    (root / MANIFEST).write_text(manifest(root, [Variant("fp32", "cpu", MODEL, "verified")]).to_json())
    assert "does not list" in refused(root)


def test_models_that_no_variant_names_are_looked_into_as_well(tmp_path):
    root = make(tmp_path / "b", {MODEL: onnx_model(), "onnx/model.onnx": onnx_model("../../secret")})
    assert "onnx/model.onnx" in refused(root)


def test_opening_reads_what_onnx_wrote(tmp_path):
    """A model that onnx itself split into graph and data opens, so the reading of its wire format is right."""
    path = tmp_path / "b" / MODEL
    path.parent.mkdir(parents=True)
    proto = onnx.load_from_string(onnx_model())
    proto.graph.initializer[0].CopyFrom(helper.make_tensor("w", TensorProto.FLOAT, [400], [1.0] * 400))
    proto.graph.initializer[0].raw_data = b"\x00" * 1600
    proto.graph.initializer[0].ClearField("float_data")
    onnx.save(proto, path, save_as_external_data=True, location="fp32.onnx_data", size_threshold=100)
    root = make(tmp_path / "b", {})
    assert "onnx/cpu/fp32.onnx_data" in {entry.path for entry in Bundle.open(root).manifest.files}
    edit(root, lambda document: document["files"].pop())
    assert "does not list" in refused(root)
