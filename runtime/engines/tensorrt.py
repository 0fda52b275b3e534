"""TensorRT and TensorRT-RTX: a plan that `bvx build` made, on the GPU that it was made for, without torch."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import EngineMismatch, InputError
from ..manifest import Profile, TensorSpec, Variant
from .cuda import Cuda, Watch, open_cuda, time_run
from .lanes import Lane
from .plans import choose_plan, read_plan

__all__ = ["TensorRTEngine", "open_plan", "open_session"]

_DTYPES = {"INT64": "int64", "INT32": "int32", "BOOL": "bool", "FLOAT": "float32", "HALF": "float16"}
"""TensorRT's names of the types that NumPy has too. Its own `nptype` raises for the others."""

_LANES = 2
"""Contexts at the most: while one computes, the other's inputs are copied; more only wait for the same GPU."""


class TensorRTEngine:
    """A deserialised plan and its contexts. Any number of threads may run it; `_LANES` at once, the others wait.

    `cuda_graphs` may be set to False: every run is then put together anew, which is for measuring what graphs save.
    """

    def __init__(self, name: str, version: str, trt: Any, cuda: Cuda, held: tuple[Any, ...]) -> None:
        """`held` are logger, runtime and engine: NVIDIA's objects do not keep each other alive."""
        self.name = name
        self.version = version
        self.threads = 1
        self.cuda_graphs = True
        self._trt = trt
        self._cuda = cuda
        self._held: tuple[Any, ...] = held
        self._free: list[Lane] = []
        self._made = 0
        self._closed = False
        self._turn = threading.Condition()
        self._process = os.getpid()
        engine = held[-1]
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        ins = [one for one in names if engine.get_tensor_mode(one) == trt.TensorIOMode.INPUT]
        self.inputs = tuple(_spec(engine, one) for one in ins)
        self.outputs = tuple(_spec(engine, one) for one in names if one not in ins)
        self.profiles = tuple(_profile(engine, ins[0], index) for index in range(engine.num_optimization_profiles))

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The outputs called `outputs` (all of them when None) for `feeds`, arrays of [batch, length].

        Raises InputError, with the shapes that fit, when no profile covers them, and EngineMismatch for what stops it.
        """
        return self._run(feeds, outputs, None)

    def time_run(self, feeds: Mapping[str, NDArray[Any]]) -> float:
        """Milliseconds that the GPU takes for a run, copies included, by CUDA's events. Raises as `run` does."""
        return time_run(self._cuda, lambda watch: self._run(feeds, None, watch))

    def close(self) -> None:
        """Wait for what is running, then give all memory back."""
        with self._turn:
            self._closed = True
            self._turn.notify_all()
            if os.getpid() != self._process:
                return  # CUDA does not survive a fork: its memory is the parent's
            while len(self._free) < self._made:
                self._turn.wait()
            while self._free:
                self._free.pop().close()
                self._made -= 1
            self._held = ()

    def _run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None, watch: Watch | None
    ) -> dict[str, NDArray[Any]]:
        if os.getpid() != self._process:
            raise EngineMismatch("This model was loaded before the process forked.", "Load it in each child.")
        shape = next(iter(feeds.values())).shape
        profile = self._choose_profile(int(shape[0]), int(shape[1]))
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        lane = self._take()
        try:
            return lane.run(feeds, profile, names, self.cuda_graphs, watch)
        finally:
            self._give(lane)

    def _choose_profile(self, batch: int, length: int) -> int:
        """The profile with the least room that covers the shape."""
        fitting = [number for number, profile in enumerate(self.profiles) if profile.covers(batch, length)]
        if not fitting:
            shapes = " or ".join(
                f"batch {one.min[0]} to {one.max[0]} with length {one.min[1]} to {one.max[1]}" for one in self.profiles
            )
            raise InputError(
                f"The engine was not built for batch {batch} with length {length}; it takes {shapes}.",
                "Pad or split to these, or build it with another --profile.",
            )
        return min(fitting, key=lambda number: self.profiles[number].max[0] * self.profiles[number].max[1])

    def _take(self) -> Lane:
        with self._turn:
            while True:
                if self._closed:
                    raise EngineMismatch("This model was closed.", "Load the bundle again.")
                if self._free:
                    return self._free.pop()
                if self._made < _LANES:
                    lane = self._make_lane()
                    self._made += 1
                    return lane
                self._turn.wait()

    def _make_lane(self) -> Lane:
        context = self._held[-1].create_execution_context()
        if context is None:
            raise EngineMismatch("TensorRT cannot make an execution context: the GPU's memory is full.", "Free some.")
        return Lane(self._cuda, context, self.inputs, self.outputs)

    def _give(self, lane: Lane) -> None:
        with self._turn:
            self._free.append(lane)
            self._turn.notify_all()


def open_session(path: Path, variant: Variant, threads: int, spin: bool) -> TensorRTEngine:
    """Load the plan that belongs to the ONNX file at `path`, with TensorRT. See `open_plan`."""
    return open_plan("tensorrt", "tensorrt", path, variant)


def open_plan(name: str, module: str, path: Path, variant: Variant) -> TensorRTEngine:
    """The engine called `name`, of NVIDIA's Python `module`, with the plan of `variant`, whose graph lies at `path`.

    CUDA is asked for a GPU before TensorRT is touched, which may crash without one, and the plan's own record for
    version and GPU before the plan is read. Raises EngineMismatch, or BundleError where the plan was changed.
    """
    cuda = open_cuda()
    gpu = cuda.find_gpu()
    try:
        trt = import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        raise EngineMismatch(f"{name} cannot be imported ({error}).", f"`pip install bvx[{name}]`.") from error
    version = str(trt.__version__)
    root = path.parents[len(Path(variant.file).parts) - 1]
    plan, file = choose_plan(Bundle.open(root, check_hashes=False), variant, name, version, gpu)
    data = read_plan(plan, file)
    logger = trt.Logger(trt.Logger.ERROR)
    runtime = trt.Runtime(logger)
    if "version" in plan.compatible:
        # Such a plan brings the code of its own version along, which has to be allowed; its hash was checked.
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineMismatch(
            f"{name} {version} cannot read the plan {file} on {gpu.name} (driver for CUDA {gpu.driver}).",
            f"Build it here: `bvx build {root} --engine {name} --precision {variant.precision}`.",
        )
    return TensorRTEngine(name, version, trt, cuda, (logger, runtime, engine))


def _spec(engine: Any, name: str) -> TensorSpec:
    kind = engine.get_tensor_dtype(name).name
    if kind not in _DTYPES:
        raise EngineMismatch(f"The engine's {name} is {kind}, which NumPy does not have.", "Build it again with bvx.")
    shape = tuple("?" if int(size) < 0 else int(size) for size in engine.get_tensor_shape(name))
    return TensorSpec(name, np.dtype(_DTYPES[kind]).name, shape)


def _profile(engine: Any, name: str, index: int) -> Profile:
    # Positionally: get_tensor_profile_values had its keywords swapped for years.
    low, opt, high = ((int(shape[0]), int(shape[1])) for shape in engine.get_tensor_profile_shape(name, index))
    return Profile(low, opt, high)
