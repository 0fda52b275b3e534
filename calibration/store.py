"""ranges.safetensors: ranges in a file, so that another machine can quantise again without the texts.

Numbers are tensors, and what is not a number is JSON in the file's metadata. docs/calibration.md lists both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..runtime.errors import BundleError, CalibrationError
from ..runtime.json_reader import JsonValue, parse_json
from .ranges import Corpus, Ranges
from .sites import find_linears

__all__ = ["FILE", "check_ranges", "read_ranges", "write_ranges"]

FILE = "ranges.safetensors"
"""What the file is called in a bundle."""

_KEY = "bvx.ranges"
_FORMAT = 1
_LARGEST = 256 * 2**20
"""Bytes. A thousand tensors of 8,192 channels would be 32 MB."""


def write_ranges(path: str | os.PathLike[str], ranges: Ranges) -> None:
    """Write `ranges` to `path` in one step: whoever interrupts it finds the old file or the new one."""
    from safetensors.numpy import save

    content = save(_tensors(ranges), {_KEY: _describe(ranges)})
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_ranges(path: str | os.PathLike[str]) -> Ranges:
    """The ranges in a file, or in the bundle that `path` is. Raises BundleError when they cannot be read."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        path /= FILE
    if not path.exists():
        raise BundleError(f"There are no ranges at {path}.", "Name a bundle that was calibrated, or calibrate again.")
    try:
        if path.stat().st_size > _LARGEST:
            raise BundleError(f"{path} is too large to hold ranges.", "Calibrate again.")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if _KEY not in metadata:
        raise _damaged(path, "it is a safetensors file of something else")
    return _Reader(path, tensors).read(parse_json(metadata[_KEY], f"{path} (metadata)"))


def check_ranges(ranges: Ranges, graph: ir.Graph) -> None:
    """Raises CalibrationError when `ranges` were not taken from a graph like this one."""
    linears = find_linears(graph)
    missing = [linear.input for linear in linears if linear.input not in ranges.bounds]
    step = "Use the ranges of this very model, or calibrate again with --calibrate."
    if missing:
        raise CalibrationError(
            f"The ranges are of another model: {len(missing)} of its {len(linears)} linear layers read tensors that "
            f"they do not have, such as {missing[0]}.",
            step,
        )
    for linear in linears:
        weight = graph.initializers[linear.weight].const_value
        assert weight is not None
        width, seen = int(weight.shape.numpy()[1 - linear.axis]), ranges.channels.get(linear.input)
        if seen is not None and seen.shape != (width,):
            raise CalibrationError(
                f"The ranges are of another model: {linear.input} has {seen.size} channels there, and {width} here.",
                step,
            )


def _tensors(ranges: Ranges) -> dict[str, NDArray[Any]]:
    tensors: dict[str, NDArray[Any]] = {
        "bounds": np.array(list(ranges.bounds.values()), np.float32).reshape(-1, 2),
        "peaks": np.array(list(ranges.peaks.values()), np.float32),
        "lengths": np.array(list(ranges.lengths.items()), np.int64).reshape(-1, 2),
    }
    if ranges.losses:
        tensors["losses"] = np.array(list(ranges.losses.values()), np.float32)
    for index, channels in enumerate(ranges.channels.values()):
        tensors[f"channels/{index}"] = np.ascontiguousarray(channels, np.float32)
    return tensors


def _describe(ranges: Ranges) -> str:
    corpus = ranges.corpus
    described = {
        "format": _FORMAT,
        "observer": ranges.observer,
        "corpus": {name: getattr(corpus, name) for name in corpus.__dataclass_fields__},
        "bounds": list(ranges.bounds),
        "peaks": list(ranges.peaks),
        "channels": list(ranges.channels),
        "losses": list(ranges.losses),
    }
    return json.dumps(described, allow_nan=False)


class _Reader:
    """Reads the tensors of one file, beside what its metadata says of them."""

    def __init__(self, path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._path = path
        self._tensors = tensors

    def read(self, document: JsonValue) -> Ranges:
        if (format_ := document.get("format").integer(1)) > _FORMAT:
            raise BundleError(f"{self._path} has format {format_}; this bvx reads {_FORMAT}.", "Upgrade bvx.")
        bounds, peaks, channels = (self._names(document, kind) for kind in ("bounds", "peaks", "channels"))
        pairs = self._take("bounds", (len(bounds), 2))
        if not (np.all(pairs[:, 0] <= 0) and np.all(pairs[:, 1] >= 0) and np.all(pairs[:, 0] < pairs[:, 1])):
            raise _damaged(self._path, "a range does not hold zero, or is empty")
        lengths = self._take("lengths", (None, 2), "i")
        # Files of before had none, and an empty one is not written.
        lost = self._names(document, "losses", [])
        losses = self._positive("losses", len(lost)) if lost else ()
        return Ranges(
            observer=document.get("observer").text(),
            corpus=_read_corpus(document.get("corpus")),
            bounds={name: (float(low), float(high)) for name, (low, high) in zip(bounds, pairs, strict=True)},
            peaks=dict(zip(peaks, map(float, self._positive("peaks", len(peaks))), strict=True)),
            channels={name: self._positive(f"channels/{index}", None) for index, name in enumerate(channels)},
            lengths={int(length): int(count) for length, count in lengths},
            losses=dict(zip(lost, map(float, losses), strict=True)),
        )

    def _names(self, document: JsonValue, kind: str, *default: list[str]) -> list[str]:
        names = [item.text() for item in document.get(kind, *default).items()]
        if len(set(names)) != len(names):
            raise _damaged(self._path, f"a tensor stands twice among its {kind}")
        return names

    def _positive(self, key: str, length: int | None) -> NDArray[Any]:
        found = self._take(key, (length,))
        if not np.all(found >= 0):
            raise _damaged(self._path, f"the tensor {key} has a negative magnitude")
        return found

    def _take(self, key: str, shape: tuple[int | None, ...], kind: str = "f") -> NDArray[Any]:
        array = self._tensors.get(key)
        if array is None or array.dtype.kind != kind:
            raise _damaged(self._path, f"the tensor {key} is missing or has another type")
        fits = len(array.shape) == len(shape) and all(
            a == b for a, b in zip(array.shape, shape, strict=True) if b is not None
        )
        if not fits:
            wanted = ["any" if size is None else size for size in shape]
            raise _damaged(self._path, f"the tensor {key} has shape {list(array.shape)}, not {wanted}")
        if not np.isfinite(array).all():
            raise _damaged(self._path, f"the tensor {key} has values that are not finite")
        return array


def _read_corpus(value: JsonValue) -> Corpus:
    return Corpus(
        source=value.get("source").text(),
        lines=value.get("lines").integer(),
        samples=value.get("samples").integer(),
        tokens=value.get("tokens").integer(),
        seed=value.get("seed").integer(-(2**63)),
        digest=value.get("digest").text(),
    )


def _damaged(path: Path, why: str) -> BundleError:
    return BundleError(f"{path} holds no readable ranges ({why}).", "Copy the file again, or calibrate again.")
