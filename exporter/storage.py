"""A graph on disk: one file, or beyond what protobuf can hold, a graph and its weights beside it."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

__all__ = ["EXTERNAL_BEYOND", "save_graph", "stored_bytes"]

EXTERNAL_BEYOND = 1_800_000_000
"""Bytes of weights from which on they go to a file of their own: protobuf ends at 2^31, graph included."""


def stored_bytes(model: ir.Model) -> int:
    """Bytes of all numbers that the graph stores."""
    return sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)


def save_graph(model: ir.Model, path: Path, external_beyond: int = EXTERNAL_BEYOND) -> None:
    """Write `model` to `path`, and to `<path>_data` under that relative name when its weights are too many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    external = f"{path.name}_data" if stored_bytes(model) > external_beyond else None
    ir.save(model, path, external_data=external)
