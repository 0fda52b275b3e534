"""Whether what bvx.json says and what the graph is are one: asked once, when a bundle is loaded."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from .bundle import Bundle
from .engines import Engine
from .errors import BundleError
from .heads import Head
from .json_reader import parse_json
from .manifest import Manifest, TensorSpec, Variant

__all__ = ["check_agreement"]

_READ = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs that a text is made into."""

_LONGEST_CONFIG = 2**20


def check_agreement(bundle: Bundle, variant: Variant, engine: Engine, head: Head | None) -> None:
    """Raises BundleError that names the first thing in which the manifest, the graph and config.json differ."""
    manifest = bundle.manifest
    _check_tensors("inputs", engine.inputs, manifest.inputs, variant)
    _check_tensors("outputs", engine.outputs, manifest.outputs, variant)
    for spec in manifest.inputs:
        if spec.dtype not in ("int64", "int32") or len(spec.shape) != 2:
            _refuse(f"bvx.json: input {_show(spec)}; wanted int64 or int32 of [batch, sequence]")
    if head is not None:
        _check_head(head, engine, manifest)
    config = _read_config(bundle)
    positions = config.get("max_position_embeddings")
    if type(positions) is int and manifest.max_length > positions:
        _refuse(f"bvx.json: max_length is {manifest.max_length}; the model has {positions} positions (config.json)")
    _check_ids(manifest, config)


def _check_tensors(kind: str, graph: tuple[TensorSpec, ...], said: tuple[TensorSpec, ...], variant: Variant) -> None:
    found = {spec.name: spec for spec in graph}
    if sorted(found) != sorted(spec.name for spec in said):
        names = ", ".join(spec.name for spec in said)
        _refuse(f"{variant.file} has the {kind} {', '.join(found)}; bvx.json says {names}")
    for spec in said:
        own = found[spec.name]
        # A graph without shapes says []; and an axis that has a name may have any size.
        pairs = list(zip(own.shape, spec.shape, strict=False))
        fits = not own.shape or len(own.shape) == len(spec.shape)
        fits = fits and all(a == b for a, b in pairs if isinstance(a, int) and (isinstance(b, int) or kind == "inputs"))
        if own.dtype != spec.dtype or not fits:
            _refuse(f"{variant.file} has {_show(own)}; bvx.json says {_show(spec)}")


def _check_head(head: Head, engine: Engine, manifest: Manifest) -> None:
    names = [spec.name for spec in manifest.inputs]
    strange = [name for name in names if name not in _READ]
    if strange or "input_ids" not in names:
        _refuse(f"bvx.json: the inputs are {', '.join(names)}; a text becomes {', '.join(_READ)}")
    for name in head.outputs:
        outputs = [spec for spec in (*manifest.outputs, *engine.outputs) if spec.name == name]
        if not outputs:
            there = ", ".join(spec.name for spec in manifest.outputs)
            _refuse(f"bvx.json: the task is {manifest.task}, which reads {name}; the graph gives {there}")
        for spec in outputs:
            if spec.shape:
                head.check_output(spec)


def _check_ids(manifest: Manifest, config: dict[str, Any]) -> None:
    """What a padded batch or a mask is made of has to lie inside the tables that it is looked up in."""
    tables = {"input_ids": config.get("vocab_size"), "token_type_ids": config.get("type_vocab_size")}
    info, mask = manifest.tokenizer, manifest.head.get("mask_token_id")
    used: list[tuple[str, str, int]] = []
    if info is not None:
        used += [
            ("tokenizer.pad_id", "input_ids", info.pad_id),
            ("tokenizer.pad_type_id", "token_type_ids", info.pad_type_id),
        ]
    if type(mask) is int:
        used.append(("head.mask_token_id", "input_ids", mask))
    dtypes = {spec.name: spec.dtype for spec in manifest.inputs}
    for field, name, number in used:
        bounds = [int(np.iinfo(dtypes.get(name, "int64")).max) + 1]
        if name in dtypes:
            bounds += [bound for bound in (manifest.input_limits.get(name), tables[name]) if type(bound) is int]
        if not 0 <= number < min(bounds):
            shown = number if abs(number) < 10**18 else "a huge number"
            _refuse(f"bvx.json: {field} is {shown}; {name} takes 0 to {min(bounds) - 1}")


def _read_config(bundle: Bundle) -> dict[str, Any]:
    """config.json, which is the ecosystem's: where it is missing, or not as bvx wrote it, it says nothing."""
    if not bundle.has("config.json"):
        return {}
    try:
        with bundle.path("config.json").open(encoding="utf-8") as file:
            return parse_json(file.read(_LONGEST_CONFIG), "config.json").plain()
    except (BundleError, OSError, UnicodeDecodeError):
        return {}


def _show(spec: TensorSpec) -> str:
    return f"{spec.name}, {spec.dtype:.40} of [{', '.join(map(str, spec.shape))}]"


def _refuse(cause: str) -> NoReturn:
    raise BundleError(f"{cause}.", "Export the bundle again.")
