"""The builder's library: imported only when asked for, and never before CUDA has said that there is a GPU to use."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...runtime.engines.cuda import Gpu, open_cuda
from ...runtime.errors import EngineBuildError, EngineMismatch
from ..checker.operators import ATTENTION_SINCE
from .options import ARCHITECTURES

__all__ = ["Library", "open_library"]

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_OLDEST = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 2)}
"""The first with all names that the builder uses (on Jetson that of JetPack 6), and the first RTX with Attention."""


@dataclass(frozen=True)
class Library:
    """NVIDIA's module, its version, and the GPU that it builds on; tensorrt-rtx needs none."""

    engine: str
    trt: Any
    version: str
    gpu: Gpu | None = None

    @property
    def reads(self) -> tuple[int, int]:
        """What its parser reads, as a version of TensorRT: every tensorrt-rtx reads Attention."""
        return ATTENTION_SINCE if self.engine == "tensorrt-rtx" else _number(self.version) or (0, 0)


def _number(version: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def open_library(engine: str) -> Library:
    """The builder called `engine`. Raises EngineBuildError where it is missing, too old, or wants a GPU."""
    gpu = _find_gpu() if engine == "tensorrt" else None
    try:
        trt = import_module(_MODULES[engine])
    except ModuleNotFoundError as error:
        raise EngineBuildError(f"{engine} is not installed.", f"`pip install bvx[{engine}]`.") from error
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineBuildError(
            f"{engine} is installed but cannot be loaded ({error}).", f"Reinstall it: `pip install bvx[{engine}]`."
        ) from error
    version = str(trt.__version__)
    found, oldest = _number(version), _OLDEST[engine]
    if not found or found < oldest:
        raise EngineBuildError(
            f"{engine} is {version}; bvx builds with {oldest[0]}.{oldest[1]} and later.",
            f"Upgrade it: `pip install -U bvx[{engine}]`.",
        )
    return Library(engine, trt, version, gpu)


def _find_gpu() -> Gpu:
    try:
        return open_cuda().find_gpu()
    except EngineMismatch as error:
        # Its builder has no factory without a GPU, and its runtime may crash.
        raise EngineBuildError(
            f"tensorrt builds on the GPU that it builds for. {error.cause}",
            "Build on such a machine, or here with `--engine tensorrt-rtx`, which builds for "
            f"{', '.join(ARCHITECTURES)} without one.",
        ) from error
