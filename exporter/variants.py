"""Opening a variant that was just made: on the engine that will serve it, or where that is not here, on a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from ..runtime.bundle import Bundle
from ..runtime.encoder import Encoder
from ..runtime.engines import Engine, open_engine
from ..runtime.heads import find_predictor, open_head
from ..runtime.loading import load
from ..runtime.machine import allowed_cores
from ..runtime.manifest import Manifest, Variant
from ..runtime.tokenizer import Tokenizer
from .reference import check_lowered

__all__ = ["AS_WRITTEN", "REFERENCE", "is_served_here", "open_unlisted", "open_variant"]

REFERENCE = "onnx-reference"
"""The name of the engine that is onnx's reference evaluator."""

AS_WRITTEN = {"graph_optimization_level": "ORT_ENABLE_BASIC"}
"""Q and DQ nodes are run as they stand: ONNX Runtime's own int8 kernels may saturate, and are not what will serve."""

_BEYOND_ORT = ("bf16", "fp8")
"""Precisions for which ONNX Runtime has no kernels on a processor."""


def is_served_here(variant: Variant) -> bool:
    """Whether the engine that will serve the variant is what an export checks it on."""
    return variant.target == "cpu"


def open_variant(folder: Path, variant: Variant, threads: int | None = None) -> Encoder:
    """The variant of the bundle in `folder`, ready to answer.

    A variant of another target runs as its graph is written: on ONNX Runtime's CPU engine, or where that has no kernels
    for its types, on onnx's reference evaluator. Raises EngineMismatch when it cannot be run.
    """
    if is_served_here(variant):
        return load(folder, precision=variant.precision, engine="onnxruntime", threads=threads, check_hashes=False)
    bundle = Bundle.open(folder, check_hashes=False)
    return _assemble(bundle, variant, _open_reference(bundle.path(variant.file), variant, bundle.manifest))


def open_unlisted(folder: Path, manifest: Manifest, variant: Variant, path: Path | None = None) -> Encoder:
    """A graph that no manifest lists, as a variant of the bundle that is being made in `folder`, on the CPU engine.

    It lies in `path`, by default where `variant` says.
    """
    engine = open_engine("onnxruntime", path or folder / variant.file, variant, allowed_cores(), False)
    return _assemble(Bundle(folder, manifest), variant, engine)


def _assemble(bundle: Bundle, variant: Variant, engine: Engine) -> Encoder:
    manifest = bundle.manifest
    path = bundle.root / "tokenizer.json"
    tokenizer = Tokenizer(path, manifest.max_length, engine.threads) if manifest.tokenizer else None
    head = open_head(manifest.task, manifest.head, tokenizer) if tokenizer else None
    return find_predictor(manifest.task)(bundle, variant, engine, tokenizer, head)


def _open_reference(path: Path, variant: Variant, manifest: Manifest) -> Engine:
    if variant.precision in _BEYOND_ORT:
        return _Evaluator(path, manifest)
    return open_engine("onnxruntime", path, replace(variant, engine_options=AS_WRITTEN), 1, False)


class _Evaluator:
    """onnx's reference evaluator as an engine."""

    name = REFERENCE
    version = onnx.__version__
    threads = 1

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.inputs, self.outputs = manifest.inputs, manifest.outputs
        self._path = path

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        found = check_lowered(self._path, feeds)
        return found if outputs is None else {name: found[name] for name in outputs}

    def close(self) -> None:
        pass
