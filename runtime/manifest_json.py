"""The manifest as JSON: written as it is, read strictly, because bvx.json may come from anywhere."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from .errors import BundleError
from .json_reader import JsonValue, parse_json
from .manifest import (
    FORMAT,
    CalibrationInfo,
    EngineFile,
    FileEntry,
    Manifest,
    ModelInfo,
    PassLog,
    Profile,
    TensorSpec,
    TokenizerInfo,
    Variant,
)
from .parity import Tolerance
from .paths import check_relative

__all__ = ["read_engine", "read_manifest", "to_plain", "write_manifest"]


def write_manifest(manifest: Manifest) -> str:
    """`manifest` as the text of bvx.json. Raises ValueError for a number that JSON does not have (NaN, infinity)."""
    return json.dumps(to_plain(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_manifest(text: str) -> Manifest:
    """The manifest in `text`. Fields that this format does not know are ignored.

    Raises BundleError that names the first field which is missing or wrong, or says who made a newer format.
    """
    document = parse_json(text, "bvx.json")
    _check_format(document)
    manifest = Manifest(
        format=document.get("format").integer(least=1),
        bvx_version=document.get("bvx_version").text(),
        model=_model(document.get("model")),
        family=document.get("family").text(),
        task=document.get("task").text(),
        head=document.get("head").plain(),
        inputs=tuple(_tensor(item) for item in document.get("inputs").items()),
        outputs=tuple(_tensor(item) for item in document.get("outputs").items()),
        max_length=document.get("max_length").integer(least=1),
        tokenizer=_tokenizer(document.get("tokenizer")),
        variants=tuple(_variant(item) for item in document.get("variants").items()),
        files=tuple(_file(item) for item in document.get("files").items()),
        profiles=tuple(_profile(item) for item in document.get("profiles", []).items()),
        engines=tuple(read_engine(item) for item in document.get("engines", []).items()),
        passes=_passes(document.get("passes", {})),
        parity=_parity(document.get("parity", {})),
        tolerances=_tolerances(document.get("tolerances", {})),
        own_tolerances=_tolerances(document.get("own_tolerances", {})),
        input_limits={name: item.integer(least=1) for name, item in document.get("input_limits", {}).fields().items()},
        calibration=_calibration(document.get("calibration", None)),
        accuracy=_plain_rows(document.get("accuracy", {})),
        latency=_plain_rows(document.get("latency", {})),
        recommended=document.get("recommended", "").text(),
        tradeoff=tuple(item.plain() for item in document.get("tradeoff", []).items()),
        tools=document.get("tools", {}).texts(),
    )
    _check_whole(manifest)
    return manifest


def to_plain(value: Any) -> Any:
    """A manifest, or a part of one, as JSON has it."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def _check_format(document: JsonValue) -> None:
    """Before anything else: a newer format may have changed every other field."""
    number = document.get("format").integer(least=1)
    if number <= FORMAT:
        return
    maker = document.get("bvx_version", "").value
    by = f"bvx {maker[:40]}" if isinstance(maker, str) and maker else "a newer bvx"
    raise BundleError(
        f"This bundle has format {number} and was made by {by}; this bvx reads formats up to {FORMAT}.",
        "Upgrade this one (`pip install --upgrade bvx`), or export the model again with it.",
    )


def _check_whole(manifest: Manifest) -> None:
    """What no single field can show: paths are listed once, and every variant's file is listed."""
    listed = {entry.path for entry in manifest.files}
    if len(listed) != len(manifest.files):
        raise BundleError("bvx.json: files lists a path twice.", "Export the bundle again.")
    keys = {variant.key for variant in manifest.variants}
    if len(keys) != len(manifest.variants):
        raise BundleError("bvx.json: variants lists a precision and target twice.", "Export the bundle again.")
    if manifest.recommended and manifest.recommended not in keys:
        raise BundleError(
            f"bvx.json: recommended is {manifest.recommended!r}, which variants does not have.",
            "Export the bundle again.",
        )
    for variant in manifest.variants:
        if not variant.file.endswith(".onnx"):
            # Bundle.open looks into files of this name for references that lead out of the bundle.
            raise BundleError(
                f"bvx.json: variant {variant.key} is in {variant.file!r}, which is not an .onnx file.",
                "Export the bundle again.",
            )
        if variant.file not in listed:
            raise BundleError(
                f"bvx.json: variant {variant.key} is in {variant.file!r}, which files does not list.",
                "Export the bundle again.",
            )

    for engine in manifest.engines:
        if engine.file not in listed or engine.variant not in keys:
            raise BundleError(
                f"bvx.json: the engine {engine.file!r} for {engine.variant} belongs to no listed file and variant.",
                "Build it again with `bvx build`.",
            )


def _model(value: JsonValue) -> ModelInfo:
    seed = value.get("seed", None)
    return ModelInfo(
        id=value.get("id").text(),
        revision=value.get("revision", None).optional_text(),
        random=value.get("random").flag(),
        parameters=value.get("parameters").integer(),
        unexpected_weights=tuple(item.text() for item in value.get("unexpected_weights", []).items()),
        seed=None if seed.value is None else seed.integer(),
        new_weights=tuple(item.text() for item in value.get("new_weights", []).items()),
    )


def _tensor(value: JsonValue) -> TensorSpec:
    dimensions = value.get("shape").items()
    return TensorSpec(
        name=value.get("name").text(),
        dtype=value.get("dtype").text(),
        shape=tuple(item.text() if isinstance(item.value, str) else item.integer() for item in dimensions),
    )


def _tokenizer(value: JsonValue) -> TokenizerInfo | None:
    if value.value is None:
        return None
    side = value.get("padding_side").one_of("left", "right")
    return TokenizerInfo(
        pad_token=value.get("pad_token").text(),
        pad_id=value.get("pad_id").integer(),
        pad_type_id=value.get("pad_type_id").integer(),
        padding_side=cast(Literal["left", "right"], side),
        standin=value.get("standin", False).flag(),
    )


def _variant(value: JsonValue) -> Variant:
    state = value.get("state").one_of("verified", "not-runnable-here", "failed")
    return Variant(
        precision=value.get("precision").text(),
        target=value.get("target").text(),
        file=_path(value.get("file")),
        state=cast(Literal["verified", "not-runnable-here", "failed"], state),
        verified_on=value.get("verified_on", {}).texts(),
        engine_options=value.get("engine_options", {}).plain(),
        kept=value.get("kept", {}).texts(),
        evidence=value.get("evidence", {}).plain(),
        reduced=value.get("reduced", False).flag(),
        batch_dependent=value.get("batch_dependent", False).flag(),
    )


def _calibration(value: JsonValue) -> CalibrationInfo | None:
    if value.value is None:
        return None
    return CalibrationInfo(
        source=value.get("source").text(),
        lines=value.get("lines").integer(),
        samples=value.get("samples").integer(),
        tokens=value.get("tokens").integer(),
        seed=value.get("seed").integer(),
        digest=value.get("digest").text(),
        observer=value.get("observer").text(),
        methods=tuple(item.text() for item in value.get("methods", []).items()),
    )


def _plain_rows(value: JsonValue) -> dict[str, Mapping[str, Any]]:
    return {key: row.plain() for key, row in value.fields().items()}


def _file(value: JsonValue) -> FileEntry:
    digest = _digest(value.get("sha256"))
    return FileEntry(path=_path(value.get("path")), sha256=digest, bytes=value.get("bytes").integer())


def _digest(value: JsonValue) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value.text()):
        raise BundleError(f"{value.where} is not a SHA-256 in hexadecimal.", "Export the bundle again.")
    return value.text()


def _profile(value: JsonValue) -> Profile:
    return Profile(min=_shape(value.get("min")), opt=_shape(value.get("opt")), max=_shape(value.get("max")))


def _shape(value: JsonValue) -> tuple[int, int]:
    numbers = tuple(item.integer(least=1) for item in value.items())
    if len(numbers) != 2:
        raise BundleError(f"{value.where} has {len(numbers)} numbers; wanted batch and length.", "Export it again.")
    return numbers[0], numbers[1]


def read_engine(value: JsonValue) -> EngineFile:
    """One of a manifest's engines, or the record beside one in a cache. Raises BundleError."""
    return EngineFile(
        variant=value.get("variant").text(),
        engine=value.get("engine").text(),
        version=value.get("version").text(),
        gpus=tuple(item.text() for item in value.get("gpus").items()),
        file=_path(value.get("file")),
        sha256=_digest(value.get("sha256")),
        bytes=value.get("bytes").integer(),
        profiles=tuple(_profile(item) for item in value.get("profiles").items()),
        compatible=tuple(item.text() for item in value.get("compatible", []).items()),
        audit=value.get("audit", {}).plain(),
    )


def _passes(value: JsonValue) -> dict[str, tuple[PassLog, ...]]:
    return {key: tuple(_pass(item) for item in logs.items()) for key, logs in value.fields().items()}


def _pass(value: JsonValue) -> PassLog:
    refusals = {reason: count.integer() for reason, count in value.get("refusals", {}).fields().items()}
    return PassLog(name=value.get("name").text(), applied=value.get("applied").integer(), refusals=refusals)


def _parity(value: JsonValue) -> dict[str, tuple[Mapping[str, Any], ...]]:
    return {key: tuple(row.plain() for row in rows.items()) for key, rows in value.fields().items()}


def _tolerances(value: JsonValue) -> dict[str, Tolerance]:
    return {name: _tolerance(item) for name, item in value.fields().items()}


def _tolerance(value: JsonValue) -> Tolerance:
    return Tolerance(
        max_abs=value.get("max_abs").number(),
        mean_abs=value.get("mean_abs").number(),
        cosine=value.get("cosine").number(),
        argmax=value.get("argmax").number(),
    )


def _path(value: JsonValue) -> str:
    return check_relative(value.text(), value.where)
