"""Pinned memory and as much on the GPU, for one tensor of a run."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineMismatch
from ..manifest import TensorSpec
from .cuda import Cuda

__all__ = ["Buffer", "count_bytes", "free_buffer", "take_buffer"]


@dataclass
class Buffer:
    """Addresses of `size` bytes on either side."""

    host: int
    device: int
    size: int

    def view(self, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
        """The pinned memory as an array, which lives no longer than the buffer."""
        count = int(np.prod(shape))
        memory = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(self.host)
        array: NDArray[Any] = np.frombuffer(memoryview(memory), dtype, count).reshape(shape)
        return array


def take_buffer(cuda: Cuda, size: int) -> Buffer:
    """A new buffer; nothing is kept where one of its halves cannot be had. Raises EngineMismatch."""
    device = cuda.take_device(size)
    try:
        host = cuda.take_host(size)
    except EngineMismatch:
        cuda.free_device(device)
        raise
    return Buffer(host, device, size)


def free_buffer(cuda: Cuda, buffer: Buffer) -> None:
    """Give both halves back."""
    try:
        cuda.free_device(buffer.device)
    finally:
        cuda.free_host(buffer.host)


def count_bytes(spec: TensorSpec, shape: Sequence[int]) -> int:
    """What a tensor of this shape takes."""
    return int(np.prod(shape)) * np.dtype(spec.dtype).itemsize
