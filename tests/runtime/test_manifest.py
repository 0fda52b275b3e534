"""bvx.json: what is written is read back, and what is wrong in it is named."""

import json
from dataclasses import replace

import pytest

from bvx.runtime.errors import BundleError
from bvx.runtime.manifest import (
    FORMAT,
    CalibrationInfo,
    FileEntry,
    Manifest,
    ModelInfo,
    PassLog,
    Profile,
    TensorSpec,
    TokenizerInfo,
    Variant,
)
from bvx.runtime.parity import Tolerance

FULL = Manifest(
    format=FORMAT,
    bvx_version="0.1.0",
    model=ModelInfo("räksmörgås/tiny", "abc123", False, 1234, ("pooler.dense.weight",)),
    family="bert",
    task="text-classification",
    head={"labels": ["neg", "pos"], "problem_type": None, "nested": {"threshold": 0.5}},
    inputs=(TensorSpec("input_ids", "int64", ("batch", "sequence")),),
    outputs=(TensorSpec("logits", "float32", ("batch", 2)),),
    max_length=512,
    tokenizer=TokenizerInfo("[PAD]", 0, 0, "right"),
    variants=(
        Variant(
            "fp32",
            "cpu",
            "onnx/cpu/fp32.onnx",
            "verified",
            {"cpu": "x"},
            {"threads": 1},
            {"a": "b"},
            reduced=True,
            batch_dependent=True,
        ),
    ),
    files=(FileEntry("onnx/cpu/fp32.onnx", "0" * 64, 10),),
    profiles=(Profile((1, 16), (8, 128), (32, 512)),),
    passes={"fp32/cpu": (PassLog("fuse_gelu", 2, {"not erf": 1}),)},
    parity={"fp32/cpu": ({"case": "one", "max_abs": 1e-6},)},
    tolerances={"fp32": Tolerance(1e-4, 1e-5, 0.999999, 1.0)},
    calibration=CalibrationInfo("mail.txt", 900, 256, 8000, 0, "0" * 64, "percentile", ("gptq",)),
    accuracy={"fp32/cpu": {"metric": "accuracy", "value": 0.5}},
    latency={"fp32/cpu": {"1x128": 3.5}},
    recommended="fp32/cpu",
    tradeoff=({"kept": 1, "loss": 0.25},),
    tools={"torch": "2.13.0"},
)


def edited(*path, to):
    """The full manifest's JSON with the value at `path` replaced."""
    document = json.loads(FULL.to_json())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return json.dumps(document)


def without(*path):
    document = json.loads(FULL.to_json())
    place = document
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return json.dumps(document)


def test_a_manifest_is_read_back_as_it_was_written():
    assert Manifest.from_json(FULL.to_json()) == FULL


def test_a_manifest_without_a_tokenizer_and_without_optional_fields_is_read():
    mappings: dict = {name: {} for name in ("passes", "parity", "tolerances", "accuracy", "latency", "tools")}
    bare = replace(
        FULL,
        tokenizer=None,
        variants=(),
        files=(),
        profiles=(),
        calibration=None,
        recommended="",
        tradeoff=(),
        **mappings,
    )
    document = json.loads(bare.to_json())
    for name in ("profiles", "calibration", "recommended", "tradeoff", *mappings):
        del document[name]
    assert Manifest.from_json(json.dumps(document)) == bare


def test_fields_that_this_format_does_not_know_are_ignored():
    assert Manifest.from_json(edited("licences", to=[1, 2])) == FULL
    assert Manifest.from_json(edited("model", "licence", to="mit")) == FULL


def test_a_newer_format_is_refused_before_anything_else_is_looked_at():
    text = json.dumps({"format": FORMAT + 1, "bvx_version": "9.9", "variants": "another shape"})
    with pytest.raises(BundleError, match=r"format 2 and was made by bvx 9\.9.*Upgrade"):
        Manifest.from_json(text)


REQUIRED = [
    ("format",), ("bvx_version",), ("model",), ("model", "id"), ("model", "random"), ("model", "parameters"),
    ("family",), ("task",), ("head",), ("inputs",), ("inputs", 0, "name"), ("inputs", 0, "dtype"),
    ("inputs", 0, "shape"), ("outputs",), ("max_length",), ("tokenizer",), ("tokenizer", "pad_token"),
    ("tokenizer", "pad_id"), ("tokenizer", "pad_type_id"), ("tokenizer", "padding_side"), ("variants",),
    ("variants", 0, "precision"), ("variants", 0, "target"), ("variants", 0, "file"), ("variants", 0, "state"),
    ("files",), ("files", 0, "path"), ("files", 0, "sha256"), ("files", 0, "bytes"), ("profiles", 0, "opt"),
    ("calibration", "digest"),
    ("passes", "fp32/cpu", 0, "name"), ("passes", "fp32/cpu", 0, "applied"), ("tolerances", "fp32", "cosine"),
]  # fmt: skip


@pytest.mark.parametrize("path", REQUIRED, ids=lambda path: ".".join(map(str, path)))
def test_a_missing_field_is_named(path):
    with pytest.raises(BundleError, match=str(path[-1])):
        Manifest.from_json(without(*path))


def right(path, value):
    """Whether a value that is wrong elsewhere is right at this path."""
    return (
        (path == ("model", "random") and value is True)
        or (path == ("tokenizer",) and value is None)
        or (path == ("head",) and value == {"x": None})
        or (path[0] == "tolerances" and type(value) in (int, float))
    )


WRONG = [
    (path, value)
    for path in REQUIRED
    for value in (True, -1, 1.5, "\ud800", None, [None], {"x": None})
    if not right(path, value)
]


@pytest.mark.parametrize(("path", "wrong"), WRONG, ids=str)
def test_a_field_of_the_wrong_type_is_refused(path, wrong):
    with pytest.raises(BundleError):
        Manifest.from_json(edited(*path, to=wrong))


def test_the_error_names_the_place_of_the_wrong_value():
    with pytest.raises(BundleError, match=r"bvx\.json: variants\[0\]\.kept\.Gelu is 3; wanted a text"):
        Manifest.from_json(edited("variants", 0, "kept", to={"Gelu": 3}))


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "../up", "a/../../up", "a//b", "./a", "a/", "a/.", "C:/a", "a\\b", "..\\up", "a\x00b",
        "a\nb", "*/_ORT_MEM_ADDR_/*", "x" * 2000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", [("files", 0, "path"), ("variants", 0, "file")], ids=str)
def test_a_path_that_is_not_plain_and_relative_is_refused(field, path):
    with pytest.raises(BundleError, match="not a plain relative path"):
        Manifest.from_json(edited(*field, to=path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edited("variants", 0, "file", to="onnx/other.onnx"), "files does not list"),
        (edited("variants", 0, "file", to="onnx/model.bin"), r"not an \.onnx file"),
        (edited("files", to=json.loads(FULL.to_json())["files"] * 2), "lists a path twice"),
        (edited("variants", to=json.loads(FULL.to_json())["variants"] * 2), "precision and target twice"),
        (edited("files", 0, "sha256", to="0" * 63), "not a SHA-256"),
        (edited("variants", 0, "state", to="perfect"), "wanted one of verified"),
        (edited("profiles", 0, "min", to=[1]), "wanted batch and length"),
        (edited("max_length", to=0), "at least 1"),
        (edited("format", to=0), "at least 1"),
    ],
)
def test_values_that_cannot_be_are_refused(change, message):
    with pytest.raises(BundleError, match=message):
        Manifest.from_json(change)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", '{"format": 1, "format": 1}', '{"format": NaN}', "[" * 100_000,
        '{"format": ' + "9" * 10_000 + "}", '{"a":' * 50_000, FULL.to_json()[:-40], '{"format": 1e999}',
    ],
    ids=range(11),
)  # fmt: skip
def test_hostile_or_truncated_json_is_a_bundle_error(text):
    with pytest.raises(BundleError):
        Manifest.from_json(text)


def test_a_number_that_json_does_not_have_is_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(FULL, head={"threshold": float("nan")}).to_json()
