"""A graph on disk: one file, or beyond what protobuf can hold, a graph and its weights beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

__all__ = ["EXTERNAL_BEYOND", "save_graph", "stored_bytes"]

EXTERNAL_BEYOND = 1_800_000_000
"""Bytes of weights from which on they go to a file of their own: protobuf ends at 2^31, graph included."""

_LARGE = 64 * 1024
"""Bytes from which on an initializer is written to the file by itself."""

# Keys of length-delimited fields, onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _INITIALIZER, _RAW_DATA = (number << 3 | 2 for number in (7, 5, 9))


def stored_bytes(model: ir.Model) -> int:
    """Bytes of all numbers that the graph stores."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)


def save_graph(model: ir.Model, path: Path, external_beyond: int = EXTERNAL_BEYOND) -> None:
    """Write `model` to `path`, and to `<path>_data` under that relative name when its weights are too many.

    One weight at a time is in memory: onnx's own way holds all of them twice more, as a message and as its bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if stored_bytes(model) > external_beyond:
        ir.save(model, path, external_data=f"{path.name}_data")
        return
    large = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= _LARGE
    }
    with path.open("wb") as file:
        _write(file, _without(model, large), large)


def _without(model: ir.Model, large: dict[str, ir.TensorProtocol]) -> onnx.ModelProto:
    """The model's message, without the large initializers."""
    initializers = model.graph.initializers
    held = dict(initializers)
    for name in large:
        del initializers[name]
    try:
        return ir.to_proto(model)
    finally:
        # All of them again, so that they stand in their old order.
        initializers.clear()
        initializers.update(held)


def _write(file: BinaryIO, small: onnx.ModelProto, large: dict[str, ir.TensorProtocol]) -> None:
    """A message is its fields in any order, so the large initializers may follow the rest of the graph."""
    graph = small.graph.SerializeToString()
    headers = {name: _header(name, tensor) for name, tensor in large.items()}
    length = len(graph) + sum(
        len(header) + tensor.nbytes for header, tensor in zip(headers.values(), large.values(), strict=True)
    )
    small.ClearField("graph")
    file.write(small.SerializeToString())
    file.write(bytes([_GRAPH]) + _varint(length))
    file.write(graph)
    for name, tensor in large.items():
        file.write(headers[name])
        file.write(tensor.tobytes())


def _header(name: str, tensor: ir.TensorProtocol) -> bytes:
    """What stands before the bytes of one initializer: its keys and lengths, name, type and shape."""
    message = onnx.TensorProto(name=name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
    fields: bytes = message.SerializeToString()
    data = bytes([_RAW_DATA]) + _varint(tensor.nbytes)
    whole = len(fields) + len(data) + tensor.nbytes
    return bytes([_INITIALIZER]) + _varint(whole) + fields + data


def _varint(number: int) -> bytes:
    """Seven bits at a time, least first; the highest bit of a byte says that another follows."""
    return bytes(_sevens(number))


def _sevens(number: int) -> Iterator[int]:
    while number > 127:
        yield number & 127 | 128
        number >>= 7
    yield number
