"""A lane: an execution context with a stream, buffers and graphs of its own, for one request at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from ..errors import EngineMismatch
from ..manifest import TensorSpec
from .buffers import Buffer, count_bytes, free_buffer, take_buffer
from .cuda import Cuda, Watch, timed

__all__ = ["Lane"]

_GRAPHS = 32
"""CUDA graphs that a lane keeps: some megabytes each, and a service that pads to buckets has fewer shapes."""

Key = tuple[int, int, int]
"""A profile's number, batch and length."""


class Lane:
    """One context of an engine. Not safe for threads: whoever has it uses it alone."""

    def __init__(self, cuda: Cuda, context: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._cuda = cuda
        self._context = context
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        self._buffers: dict[str, Buffer] = {}
        self._graphs: OrderedDict[Key, Any] = OrderedDict()
        self._seen: OrderedDict[Key, None] = OrderedDict()
        self._can_capture = True
        self._profile = -1
        self._stream = cuda.make_stream()

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        profile: int,
        names: Sequence[str],
        graphs: bool = True,
        watch: Watch | None = None,
    ) -> dict[str, NDArray[Any]]:
        """The outputs called `names` for `feeds` [batch, length], whose shape lies in `profile`.

        `watch` is told when the GPU begins with the copies in, and when it is done with those out.
        """
        batch, length = next(iter(feeds.values())).shape
        shapes = self._bind(feeds, profile)
        for spec in self._inputs:
            self._host(spec, shapes[spec.name])[...] = feeds[spec.name]
        try:
            with timed(watch, self._stream):
                if graphs:
                    self._launch((profile, batch, length), shapes)
                else:
                    self._enqueue(shapes)
        except EngineMismatch:
            # What was put into the stream before still reads and writes the buffers, which are used again or freed.
            with suppress(EngineMismatch):
                self._cuda.wait(self._stream)
            raise
        self._cuda.wait(self._stream)
        specs = {spec.name: spec for spec in self._outputs}
        return {name: self._host(specs[name], shapes[name]).copy() for name in names}

    def close(self) -> None:
        """Give everything back: nothing of this lane is at work any more."""
        self._drop_graphs()
        self._context = None
        for name in list(self._buffers):
            free_buffer(self._cuda, self._buffers.pop(name))
        if self._stream:
            self._cuda.free_stream(self._stream)
            self._stream = 0

    def _bind(self, feeds: Mapping[str, NDArray[Any]], profile: int) -> dict[str, tuple[int, ...]]:
        """Tell the context shapes and addresses; every tensor's shape."""
        context = self._context
        if profile != self._profile:
            self._check(context.set_optimization_profile_async(profile, self._stream), f"profile {profile}")
            self._cuda.wait(self._stream)
            self._profile = profile
        for spec in self._inputs:
            self._check(context.set_input_shape(spec.name, tuple(feeds[spec.name].shape)), f"the shape of {spec.name}")
        missing = context.infer_shapes()
        if missing:
            raise EngineMismatch(f"TensorRT misses the shapes of {', '.join(missing)}.", "Build the engine again.")
        shapes = {}
        for spec in (*self._inputs, *self._outputs):
            shapes[spec.name] = tuple(int(size) for size in context.get_tensor_shape(spec.name))
            buffer = self._reserve(spec.name, count_bytes(spec, shapes[spec.name]))
            self._check(context.set_tensor_address(spec.name, buffer.device), f"the address of {spec.name}")
        return shapes

    def _reserve(self, name: str, size: int) -> Buffer:
        """The buffer of a tensor, made larger where it is too small; graphs know the old address, and go."""
        old = self._buffers.get(name)
        if old is not None and old.size >= size:
            return old
        if old is not None:
            self._drop_graphs()
            free_buffer(self._cuda, self._buffers.pop(name))
        self._buffers[name] = take_buffer(self._cuda, size)
        return self._buffers[name]

    def _host(self, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
        """A tensor's pinned memory as an array."""
        return self._buffers[spec.name].view(spec.dtype, shape)

    def _launch(self, key: Key, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Run the model: by a graph from the third time on that a shape is seen, captured at the second.

        The first run of a shape lets TensorRT set up what a graph must not contain; a shape that comes once is not
        worth a graph.
        """
        graph = self._graphs.get(key)
        if graph is None and self._can_capture and key in self._seen:
            graph = self._capture(key, shapes)
        if graph is not None:
            self._graphs.move_to_end(key)
            self._cuda.launch(graph, self._stream)
            return
        self._enqueue(shapes)
        self._seen[key] = None
        if len(self._seen) > 8 * _GRAPHS:
            self._seen.popitem(last=False)

    def _capture(self, key: Key, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        """A graph of one run, or None where this engine cannot be captured."""
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(shapes)
        except EngineMismatch:
            self._can_capture = False
            self._cuda.abandon_capture(self._stream)
            return None
        try:
            graph = self._cuda.end_capture(self._stream)
        except EngineMismatch:
            self._can_capture = False
            return None
        self._graphs[key] = graph
        if len(self._graphs) > _GRAPHS:
            self._cuda.free_graph(self._graphs.popitem(last=False)[1])
        return graph

    def _enqueue(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Put copies in, the model, and copies out into the stream."""
        for spec in self._inputs:
            buffer, size = self._buffers[spec.name], count_bytes(spec, shapes[spec.name])
            self._cuda.copy_in(buffer.device, buffer.host, size, self._stream)
        self._check(self._context.execute_async_v3(self._stream), "a run")
        for spec in self._outputs:
            buffer, size = self._buffers[spec.name], count_bytes(spec, shapes[spec.name])
            self._cuda.copy_out(buffer.host, buffer.device, size, self._stream)

    def _check(self, done: bool, what: str) -> None:
        if not done:
            with suppress(EngineMismatch):
                self._cuda.wait(self._stream)
            raise EngineMismatch(f"TensorRT refused {what}.", "`bvx verify` shows whether the bundle works here.")

    def _drop_graphs(self) -> None:
        while self._graphs:
            self._cuda.free_graph(self._graphs.popitem()[1])
