"""What a session on CUDA reads and writes: buffers of our own, bound by address, and a graph for shapes that return."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineMismatch
from ..manifest import TensorSpec
from .buffers import Buffer, count_bytes, free_buffer, take_buffer
from .cuda import Cuda, Watch, timed

__all__ = ["Bindings"]

_GRAPHS = 32
"""CUDA graphs of a session, which gives none back before it ends: the first so many shapes that return have one."""

_LEAST = 4096
"""Bytes of the smallest buffer."""

_NO_GRAPH = "-1"
"""The gpu_graph_id for a run that is neither captured nor replayed (onnxruntime_run_options_config_keys.h)."""

Shape = tuple[int, ...]


class Bindings:
    """Not safe for threads: whoever has it uses it from one thread alone."""

    def __init__(
        self,
        session: Any,
        run_options: Callable[[], Any],
        cuda: Cuda,
        stream: int,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        captures: bool,
    ) -> None:
        self._session = session
        self._run_options = run_options
        self._cuda = cuda
        self._stream = stream
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self._captures = captures
        self._buffers: dict[str, Buffer] = {}
        self._retired: list[Buffer] = []
        self._graphs: dict[Shape, tuple[str, Any, dict[str, Buffer]]] = {}
        self._seen: OrderedDict[Shape, None] = OrderedDict()

    def run(
        self, feeds: Mapping[str, NDArray[Any]], names: Sequence[str], graphs: bool, watch: Watch | None
    ) -> dict[str, NDArray[Any]]:
        """The outputs called `names` for `feeds`, arrays of one shape [batch, length].

        A shape that comes for the second time is captured as a graph, and replayed from then on.
        """
        shapes = self._find_shapes(feeds)
        key = next(iter(shapes.values()))
        number, binding, buffers = self._choose(key, shapes, graphs)
        for spec in self._inputs:
            buffers[spec.name].view(spec.dtype, shapes[spec.name])[...] = feeds[spec.name]
        try:
            self._enqueue(number, binding, buffers, shapes, names, watch)
        except Exception:
            with suppress(EngineMismatch):  # What it was doing is over before anybody uses these buffers again.
                self._cuda.wait(self._stream)
            if number == _NO_GRAPH:
                raise
            self._forget(key, buffers)
            return self.run(feeds, names, False, watch)
        self._cuda.wait(self._stream)
        specs = {spec.name: spec for spec in self._outputs}
        return {name: buffers[name].view(specs[name].dtype, shapes[name]).copy() for name in names}

    def close(self) -> None:
        """Give everything back: the session with its graphs, then the buffers that they know."""
        self._graphs.clear()
        self._session = None
        kept = {id(one): one for one in (*self._buffers.values(), *self._retired)}
        self._buffers, self._retired = {}, []
        for buffer in kept.values():
            free_buffer(self._cuda, buffer)

    def _choose(self, key: Shape, shapes: Mapping[str, Shape], graphs: bool) -> tuple[str, Any, dict[str, Buffer]]:
        """The graph's number, what is bound, and the buffers that are bound."""
        if graphs and key in self._graphs:
            return self._graphs[key]
        buffers = {
            spec.name: self._reserve(spec.name, count_bytes(spec, shapes[spec.name]))
            for spec in (*self._inputs, *self._outputs)
        }
        binding = self._session.io_binding()
        for specs, bind in ((self._inputs, binding.bind_input), (self._outputs, binding.bind_output)):
            for spec in specs:
                kind = np.dtype(spec.dtype).type
                bind(spec.name, "cuda", 0, kind, shapes[spec.name], buffers[spec.name].device)
        returns = key in self._seen
        self._seen[key] = None
        if len(self._seen) > 8 * _GRAPHS:
            self._seen.popitem(last=False)
        if not (graphs and returns and self._captures and len(self._graphs) < _GRAPHS):
            return _NO_GRAPH, binding, buffers
        self._graphs[key] = (str(len(self._graphs) + 1), binding, buffers)
        return self._graphs[key]

    def _forget(self, key: Shape, buffers: Mapping[str, Buffer]) -> None:
        """Capture nothing any more, after a graph that failed; whatever it knows is kept until the end."""
        self._captures = False
        self._graphs.pop(key, None)
        self._retired += [one for one in buffers.values() if one not in self._retired]
        self._buffers = {}

    def _reserve(self, name: str, size: int) -> Buffer:
        """The buffer of a tensor. One that is too small is kept for the graphs that know its address.

        Sizes are powers of two, so that all that are kept take no more than the one in use.
        """
        old = self._buffers.get(name)
        if old is not None and old.size >= size:
            return old
        new = take_buffer(self._cuda, max(_LEAST, 1 << (size - 1).bit_length()))
        if old is not None:
            if any(old in known.values() for _, _, known in self._graphs.values()):
                self._retired.append(old)
            else:
                free_buffer(self._cuda, old)
        self._buffers[name] = new
        return new

    def _enqueue(
        self,
        number: str,
        binding: Any,
        buffers: Mapping[str, Buffer],
        shapes: Mapping[str, Shape],
        names: Sequence[str],
        watch: Watch | None,
    ) -> None:
        options = self._run_options()
        options.add_run_config_entry("gpu_graph_id", number)
        with timed(watch, self._stream):
            for spec in self._inputs:
                one = buffers[spec.name]
                self._cuda.copy_in(one.device, one.host, count_bytes(spec, shapes[spec.name]), self._stream)
            self._session.run_with_iobinding(binding, options)
            for spec in self._outputs:
                if spec.name in names:
                    one = buffers[spec.name]
                    self._cuda.copy_out(one.host, one.device, count_bytes(spec, shapes[spec.name]), self._stream)

    def _find_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, Shape]:
        """Every tensor's shape: an axis of an output is as long as the axis of that name in the inputs."""
        axes: dict[str, int] = {}
        shapes: dict[str, Shape] = {}
        for spec in self._inputs:
            shapes[spec.name] = tuple(int(size) for size in feeds[spec.name].shape)
            axes |= {
                name: size for name, size in zip(spec.shape, shapes[spec.name], strict=True) if isinstance(name, str)
            }
        for spec in self._outputs:
            unknown = [axis for axis in spec.shape if isinstance(axis, str) and axis not in axes]
            if unknown:
                raise EngineMismatch(
                    f"How long {spec.name} is along {', '.join(unknown)} is not known before the run.",
                    "Export the bundle again with this bvx.",
                )
            shapes[spec.name] = tuple(axes[axis] if isinstance(axis, str) else axis for axis in spec.shape)
        return shapes
