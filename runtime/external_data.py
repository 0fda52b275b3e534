"""Which files an ONNX model would make ONNX Runtime open, found without a protobuf or ONNX library.

An .onnx file is one protobuf message. This walks its wire format (protobuf.dev/programming-guides/encoding) through
a memory map: whatever cannot hold a reference, weights above all, is skipped by its length and never read.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from .errors import BundleError

__all__ = ["external_locations"]

_FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto",
        22: "SparseTensorProto", 23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}  # fmt: skip
"""Message -> field number -> message in it, from onnx.proto: every way to a TensorProto.external_data."""

_DEEPEST = 64
"""Nested messages: a graph inside a node's attribute costs three. Models of bvx's families use four."""

_MOST_FIELDS = 10**6
"""Fields walked in one file. Models of bvx's families have some ten thousand; each costs about half a microsecond."""


def external_locations(model: Path) -> tuple[str, ...]:
    """The distinct `location` values of all external tensors in the ONNX file `model`, in the file's order.

    They count even where the tensor's data_location says that its data is inside: readers differ in which they trust.
    Raises BundleError when the file is empty, truncated or not an ONNX model.
    """
    try:
        with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return tuple(dict.fromkeys(_locations(_File(data), 0, len(data), "ModelProto", 0)))
    except (_Malformed, ValueError, OSError) as error:
        raise BundleError(
            f"{model} is not a readable ONNX model ({error}).", "Copy or export the bundle again."
        ) from error


class _Malformed(Exception):
    pass


class _File:
    """The bytes of a model, and how many fields have been walked."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.walked = 0

    def count(self) -> None:
        self.walked += 1
        if self.walked > _MOST_FIELDS:
            raise _Malformed(f"it has more than {_MOST_FIELDS:,} fields")


def _locations(file: _File, start: int, end: int, message: str, depth: int) -> Iterator[str]:
    """The locations in the `message` that lies in file.data[start:end]."""
    if depth > _DEEPEST:
        raise _Malformed("its messages are nested too deeply")
    if message == "StringStringEntryProto":
        # Last one wins, as in every protobuf parser: key is field 1, value is field 2.
        entry = {number: file.data[a:b] for number, a, b in _fields(file, start, end)}
        if entry.get(1) == b"location":
            yield entry.get(2, b"").decode()
        return
    children = _FIELDS[message]
    for number, a, b in _fields(file, start, end):
        if number in children:
            yield from _locations(file, a, b, children[number], depth + 1)


def _fields(file: _File, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of every length-delimited field in file.data[at:end]; all others are skipped."""
    data = file.data
    while at < end:
        file.count()
        tag, at = _varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        if number == 0 or tag >= 2**32:
            # Other parsers cut a longer tag to 32 bits, and would then see another field than this one does.
            raise _Malformed("a field has an impossible number")
        if wire == 2:
            length, at = _varint(data, at, end)
            if length > end - at:
                raise _Malformed("a field is longer than what holds it: the file is truncated")
            yield number, at, at + length
            at += length
        elif wire == 0:
            _, at = _varint(data, at, end)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
            if at > end:
                raise _Malformed("a number is cut off")
        else:
            # Groups (3 and 4) would hide fields from this walk; ONNX has none.
            raise _Malformed(f"it uses wire type {wire}, which ONNX does not")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number that starts at data[at], and where the next thing starts."""
    number = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, at
    raise _Malformed("a number is cut off")
