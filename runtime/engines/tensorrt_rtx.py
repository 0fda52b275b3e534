"""TensorRT-RTX: as TensorRT, with plans that can be built without a GPU."""

from __future__ import annotations

from pathlib import Path

from ..manifest import Variant
from .tensorrt import TensorRTEngine, open_plan

__all__ = ["open_session"]


def open_session(path: Path, variant: Variant, threads: int, spin: bool) -> TensorRTEngine:
    """Load the plan that belongs to the ONNX file at `path`, with TensorRT-RTX. See `tensorrt.open_plan`."""
    return open_plan("tensorrt-rtx", "tensorrt_rtx", path, variant)
