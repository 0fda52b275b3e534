"""ONNX Runtime on CUDA: every operator on the GPU or none, in buffers of our own, by CUDA graphs where a shape returns.

ONNX Runtime may not be called from several threads where it captures graphs, so that one thread of this engine's own
does all the work on the GPU, and whoever calls `run` waits for it.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import EngineMismatch
from ..manifest import Variant
from .bindings import Bindings
from .cuda import Cuda, Watch, open_cuda, time_run
from .ort import explain_load, explain_run, import_onnxruntime, make_options, read_spec

__all__ = ["OrtCudaEngine", "open_session"]

_OLDEST = (1, 28)
"""1.24 runs Attention on the processor; up to 1.27 a fully masked row is the mean of the values instead of zero."""

_PROVIDER = "CUDAExecutionProvider"

_OF_SHAPES = {"Shape", "Concat", "Squeeze", "Unsqueeze"}
"""What onnxruntime puts on the processor on purpose: a few numbers that say how large a tensor is."""


class OrtCudaEngine:
    """A graph in a session on CUDA. Any number of threads may call it; it computes for one at a time.

    `cuda_graphs` may be set to False: every run is then put together anew, which is for measuring what graphs save.
    """

    name = "onnxruntime-cuda"

    def __init__(self, session: Any, onnxruntime: Any, version: str, cuda: Cuda, stream: int, captures: bool) -> None:
        """`captures` says that the session can make graphs. `stream` is the session's, and freed here."""
        self.version = version
        self.threads = 1
        self.cuda_graphs = True
        self.inputs = tuple(read_spec(item) for item in session.get_inputs())
        self.outputs = tuple(read_spec(item) for item in session.get_outputs())
        self._cuda = cuda
        self._stream = stream
        self._process = os.getpid()
        self._closed = False
        self._bindings: Bindings | None = Bindings(
            session, onnxruntime.RunOptions, cuda, stream, self.inputs, self.outputs, captures
        )
        self._worker = ThreadPoolExecutor(1, "bvx-cuda")

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """The outputs called `outputs` (all of them when None) for `feeds`, arrays of [batch, length].

        Raises InputError when an id lies outside its table, and EngineMismatch for whatever else stops the graph.
        """
        return self._run(feeds, outputs, None)

    def time_run(self, feeds: Mapping[str, NDArray[Any]]) -> float:
        """Milliseconds that the GPU takes for a run, copies included, by CUDA's events. Raises as `run` does."""
        return time_run(self._cuda, lambda watch: self._run(feeds, None, watch))

    def close(self) -> None:
        """Wait for what is running, then give all memory back."""
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._process:
            return  # CUDA does not survive a fork: its memory is the parent's
        self._worker.submit(self._release).result()
        self._worker.shutdown()

    def _run(
        self, feeds: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None, watch: Watch | None
    ) -> dict[str, NDArray[Any]]:
        if os.getpid() != self._process:
            raise EngineMismatch("This model was loaded before the process forked.", "Load it in each child.")
        names = [spec.name for spec in self.outputs] if outputs is None else list(outputs)
        try:
            work = self._worker.submit(self._compute, feeds, names, watch)
        except RuntimeError as error:
            raise EngineMismatch("This model was closed.", "Load the bundle again.") from error
        return work.result()

    def _compute(
        self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], watch: Watch | None
    ) -> dict[str, NDArray[Any]]:
        bindings = self._bindings
        if bindings is None:
            raise EngineMismatch("This model was closed.", "Load the bundle again.")
        try:
            return bindings.run(feeds, names, self.cuda_graphs, watch)
        except EngineMismatch:
            raise
        except Exception as error:
            raise explain_run(error, feeds, self.version) from error

    def _release(self) -> None:
        bindings, self._bindings = self._bindings, None
        if bindings is not None:
            bindings.close()
            self._cuda.free_stream(self._stream)


def open_session(path: Path, variant: Variant, threads: int, spin: bool) -> OrtCudaEngine:
    """Load the ONNX file at `path` onto the GPU.

    Raises EngineMismatch when onnxruntime-gpu, its libraries or a GPU are missing, or when an operator would run on
    the processor; BundleError when the file is damaged.
    """
    onnxruntime, version = import_onnxruntime("cuda", _OLDEST)
    _check_distribution(onnxruntime, version)
    cuda = open_cuda()
    words = io.StringIO()
    with redirect_stdout(words):  # It prints what it does not find; what matters of that is said below.
        onnxruntime.preload_dlls()
    stream = cuda.make_stream()
    try:
        session, captures = _make_session(onnxruntime, version, path, variant, threads, spin, stream)
        _check_placement(session, version, path, " ".join(words.getvalue().split()))
        return OrtCudaEngine(session, onnxruntime, version, cuda, stream, captures)
    except BaseException:
        session = None
        cuda.free_stream(stream)
        raise


def _check_distribution(onnxruntime: Any, version: str) -> None:
    if all(any(metadata.distributions(name=name)) for name in ("onnxruntime", "onnxruntime-gpu")):
        raise EngineMismatch(
            "onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files.",
            "`pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install bvx[cuda]`.",
        )
    if _PROVIDER not in onnxruntime.get_available_providers():
        raise EngineMismatch(
            f"The onnxruntime {version} that is installed is the one for the processor; CUDA comes with "
            "onnxruntime-gpu.",
            "`pip uninstall -y onnxruntime`, then `pip install bvx[cuda]`.",
        )


def _make_session(
    onnxruntime: Any, version: str, path: Path, variant: Variant, threads: int, spin: bool, stream: int
) -> tuple[Any, bool]:
    """The session, and whether it can capture graphs."""
    options, disabled = make_options(onnxruntime, variant, threads, spin)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    for captures in (True, False):
        provider = {
            "device_id": "0",
            "use_tf32": "0",
            "enable_cuda_graph": "1" if captures else "0",
            "user_compute_stream": str(stream),
        }
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=[(_PROVIDER, provider)], disabled_optimizers=disabled, enable_fallback=0
            )
        except Exception as error:
            if captures and "graph" in str(error).lower() and "captur" in str(error).lower():
                continue  # Not every graph can be captured; it computes the same without.
            raise explain_load(error, path, version, "cuda") from error
        return session, captures
    raise AssertionError


def _check_placement(session: Any, version: str, path: Path, words: str) -> None:
    """Refuse a session that would compute on the processor.

    `session.disable_cpu_ep_fallback` would do that too, and would refuse the few operators on shapes that onnxruntime
    puts there on purpose; where each node went is therefore read back.
    """
    if next(iter(session.get_providers()), "") != _PROVIDER:
        raise EngineMismatch(
            f"onnxruntime-gpu {version} cannot load its CUDA provider: libraries of CUDA or cuDNN are missing"
            f"{f' ({words[:200]})' if words else ''}.",
            "Install them with `pip install bvx[cuda]`, which brings onnxruntime-gpu[cuda,cudnn].",
        )
    strays = {
        f"{node.op_type} ({node.name})"
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != _PROVIDER
        for node in part.get_nodes()
        if node.op_type not in _OF_SHAPES
    }
    if strays:
        shown = ", ".join(sorted(strays)[:3])
        raise EngineMismatch(
            f"onnxruntime {version} would run {len(strays)} operators of {path} on the processor: {shown}.",
            "Upgrade it: `pip install -U bvx[cuda]`, or serve the bundle with another engine.",
        )
