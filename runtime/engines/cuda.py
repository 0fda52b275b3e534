"""The CUDA runtime, and the only door to it: which GPU is here, memory, streams and graphs, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..errors import EngineMismatch

__all__ = ["Cuda", "Gpu", "Watch", "open_cuda", "time_run", "timed"]

_NO_DEVICE = (35, 100)
"""cudaErrorInsufficientDriver, which is also what a machine without any driver answers, and cudaErrorNoDevice."""


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name, its compute capability as `sm_89`, and the newest CUDA that its driver knows, as 12.8."""

    name: str
    architecture: str
    driver: str


def open_cuda() -> Cuda:
    """The CUDA runtime of a machine that has a GPU. Raises EngineMismatch that says what is missing."""
    try:
        runtime = import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise EngineMismatch(
            f"cuda-bindings, the way to the GPU, is not installed ({error}).", "`pip install bvx[tensorrt]`."
        ) from error
    cuda = Cuda(runtime)
    try:
        code, count = _answer(runtime.cudaGetDeviceCount())
    except RuntimeError as error:  # cuda-bindings' own, where it finds no CUDA library to load
        raise EngineMismatch(f"The CUDA runtime cannot be loaded ({error}).", _NO_GPU) from error
    if code in _NO_DEVICE or (code == 0 and not count):
        raise EngineMismatch("There is no NVIDIA GPU here, or no driver for it.", _NO_GPU)
    cuda.check(code, "looking for a GPU")
    return cuda


_NO_GPU = "`bvx doctor` shows what is here; in a container, start it with `--gpus all`."


class Cuda:
    """The calls of `cuda.bindings.runtime` that bvx makes. A failure raises EngineMismatch with CUDA's own words."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime

    def check(self, code: int, doing: str) -> None:
        """Raise EngineMismatch that says what was being done, when `code` is not success."""
        if code:
            error = self._runtime.cudaError_t(code)
            _, text = self._runtime.cudaGetErrorString(error)
            words = text.decode() if isinstance(text, bytes) else str(text)
            step = "Run smaller batches, or fewer at once." if code == 2 else "`bvx doctor` shows driver and GPU."
            raise EngineMismatch(f"CUDA failed {doing}: {words} (error {code}).", step)

    def find_gpu(self) -> Gpu:
        """The GPU that this thread uses: the first, unless CUDA_VISIBLE_DEVICES says otherwise."""
        device = self._call("cudaGetDevice", "looking for a GPU")
        properties = self._call("cudaGetDeviceProperties", "reading the GPU's properties", device)
        driver = self._call("cudaDriverGetVersion", "reading the driver's version")
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        architecture = f"sm_{properties.major}{properties.minor}"
        return Gpu(name.strip("\0"), architecture, f"{driver // 1000}.{driver % 1000 // 10}")

    def make_stream(self) -> int:
        """A new stream that does not wait for the default one, as a number."""
        flag = self._runtime.cudaStreamNonBlocking
        return int(self._call("cudaStreamCreateWithFlags", "making a stream", flag))

    def free_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", "freeing a stream", stream)

    def wait(self, stream: int) -> None:
        """Wait until everything in `stream` is done."""
        self._call("cudaStreamSynchronize", "running the model", stream)

    def take_device(self, size: int) -> int:
        """Address of `size` new bytes on the GPU."""
        return int(self._call("cudaMalloc", f"taking {size:,} bytes on the GPU", size))

    def free_device(self, address: int) -> None:
        self._call("cudaFree", "freeing memory on the GPU", address)

    def take_host(self, size: int) -> int:
        """Address of `size` new bytes of pinned host memory."""
        return int(self._call("cudaHostAlloc", f"pinning {size:,} bytes", size, 0))

    def free_host(self, address: int) -> None:
        self._call("cudaFreeHost", "freeing pinned memory", address)

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", "copying to the GPU", device, host, size, kind, stream)

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", "copying from the GPU", host, device, size, kind, stream)

    def begin_capture(self, stream: int) -> None:
        """Record what is put into `stream` instead of running it; other threads go on as they are."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", "capturing a graph", stream, mode)

    def end_capture(self, stream: int) -> Any:
        """The recorded graph, made ready to launch."""
        graph = self._call("cudaStreamEndCapture", "capturing a graph", stream)
        try:
            return self._call("cudaGraphInstantiate", "making a graph ready", graph, 0)
        finally:
            self._call("cudaGraphDestroy", "freeing a graph", graph)

    def abandon_capture(self, stream: int) -> None:
        """End a capture during which something failed; what was recorded is thrown away."""
        code, *graph = _answer(self._runtime.cudaStreamEndCapture(stream))
        if not code and graph and graph[0]:
            self._runtime.cudaGraphDestroy(graph[0])

    def launch(self, graph: Any, stream: int) -> None:
        self._call("cudaGraphLaunch", "running the model", graph, stream)

    def free_graph(self, graph: Any) -> None:
        self._call("cudaGraphExecDestroy", "freeing a graph", graph)

    def make_event(self) -> Any:
        """A mark that can be put into a stream, and says when the GPU came to it."""
        return self._call("cudaEventCreate", "making an event")

    def record(self, event: Any, stream: int) -> None:
        self._call("cudaEventRecord", "recording an event", event, stream)

    def measure(self, first: Any, last: Any) -> float:
        """Milliseconds between two events that the GPU has passed."""
        return float(self._call("cudaEventElapsedTime", "reading events", first, last))

    def free_event(self, event: Any) -> None:
        self._call("cudaEventDestroy", "freeing an event", event)

    def _call(self, name: str, doing: str, *arguments: Any) -> Any:
        code, *values = _answer(getattr(self._runtime, name)(*arguments))
        self.check(code, doing)
        return values[0] if values else None


class Watch:
    """Two events around a run: what the GPU takes for it, apart from what the processor does before and after."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._events = [cuda.make_event()]
        try:
            self._events.append(cuda.make_event())
        except EngineMismatch:
            self.close()
            raise

    def mark(self, number: int, stream: int) -> None:
        """Put the first (0) or the last (1) event into `stream`."""
        self._cuda.record(self._events[number], stream)

    def read(self) -> float:
        """Milliseconds of a run that was waited for."""
        return self._cuda.measure(*self._events)

    def close(self) -> None:
        while self._events:
            self._cuda.free_event(self._events.pop())


@contextmanager
def timed(watch: Watch | None, stream: int) -> Iterator[None]:
    """Have `watch`, where there is one, see what is put into `stream` meanwhile."""
    if watch is not None:
        watch.mark(0, stream)
    yield
    if watch is not None:
        watch.mark(1, stream)


def time_run(cuda: Cuda, run: Callable[[Watch], object]) -> float:
    """Milliseconds that the GPU takes for what `run` puts into a stream under the watch given to it, and waits for."""
    watch = Watch(cuda)
    try:
        run(watch)
        return watch.read()
    finally:
        watch.close()


def _answer(answer: Sequence[Any]) -> tuple[Any, ...]:
    """cuda-bindings answers with a tuple: the error, then what was asked for."""
    return int(answer[0]), *answer[1:]
