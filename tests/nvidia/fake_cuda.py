"""A stand-in for `cuda.bindings.runtime`: memory is the process's own, every allocation is counted, work runs in order.

What is put into a stream runs when the stream is waited for; between begin and end of a capture it goes into a graph,
and runs when that is launched and waited for. Freeing what is not held, or while work is waiting, is an error.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from types import SimpleNamespace


class Error(int):
    """cudaError_t."""


class FakeCuda:
    """`devices` GPUs of one kind; `held` counts what is allocated, by kind."""

    cudaStreamNonBlocking = 1
    cudaError_t = Error
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, devices=1, capability=(8, 9), driver=13000, memory=2**34):
        self.devices, self.capability, self.driver, self.memory = devices, capability, driver, memory
        self.blocks = {"device": {}, "host": {}}
        self.streams, self.graphs, self.captures = {}, {}, {}
        self.events, self.steps = {}, 0
        self.copies = Counter()
        self.launches = 0
        self.next = 1

    @property
    def held(self):
        counts = {name: len(blocks) for name, blocks in self.blocks.items()}
        return counts | {"streams": len(self.streams), "graphs": len(self.graphs), "events": len(self.events)}

    @property
    def device_bytes(self):
        return sum(len(block) for block in self.blocks["device"].values())

    def cudaGetDeviceCount(self):
        return (Error(0), self.devices) if self.devices else (Error(35), None)

    def cudaGetDevice(self):
        return Error(0), 0

    def cudaGetDeviceProperties(self, device):
        assert device == 0
        major, minor = self.capability
        return Error(0), SimpleNamespace(name=b"Fake GPU", major=major, minor=minor)

    def cudaDriverGetVersion(self):
        return Error(0), self.driver

    def cudaGetErrorString(self, error):
        return Error(0), {2: b"out of memory"}.get(int(error), b"something went wrong")

    def cudaStreamCreateWithFlags(self, flags):
        self.streams[self.next] = []
        self.next += 1
        return Error(0), self.next - 1

    def cudaStreamDestroy(self, stream):
        assert not self.streams.pop(stream), "freed with work in it"
        return (Error(0),)

    def cudaStreamSynchronize(self, stream):
        work, self.streams[stream] = self.streams[stream], []
        for step in work:
            step()
            self.steps += 1
        return (Error(0),)

    def _take(self, kind, size):
        if kind == "device" and self.device_bytes + size > self.memory:
            return Error(2), None
        block = (ctypes.c_char * max(1, size))()
        address = ctypes.addressof(block)
        self.blocks[kind][address] = block
        return Error(0), address

    def _free(self, kind, address):
        assert address in self.blocks[kind], "freed twice, or never taken"
        assert not any(self.streams.values()), "freed while work is waiting"
        del self.blocks[kind][address]
        return (Error(0),)

    def cudaMalloc(self, size):
        return self._take("device", size)

    def cudaFree(self, address):
        return self._free("device", address)

    def cudaHostAlloc(self, size, flags):
        return self._take("host", size)

    def cudaFreeHost(self, address):
        return self._free("host", address)

    def _spot(self, kind, address, size):
        """Check that `size` bytes from `address` on lie inside one block."""
        inside = (
            start <= address and address + size <= start + len(block) for start, block in self.blocks[kind].items()
        )
        assert any(inside), f"{size} bytes at {address} are not {kind} memory"

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        to, out_of = ("device", "host") if kind == 1 else ("host", "device")
        self._spot(to, target, size)
        self._spot(out_of, source, size)
        self.copies[to] += 1
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size))
        return (Error(0),)

    def enqueue(self, stream, step):
        assert stream in self.streams
        self.captures.get(stream, self.streams[stream]).append(step)

    def cudaStreamBeginCapture(self, stream, mode):
        assert stream not in self.captures
        self.captures[stream] = []
        return (Error(0),)

    def cudaStreamEndCapture(self, stream):
        return Error(0), ("graph", self.captures.pop(stream))

    def cudaGraphInstantiate(self, graph, flags):
        self.graphs[self.next] = graph[1]
        self.next += 1
        return Error(0), self.next - 1

    def cudaGraphDestroy(self, graph):
        assert graph[0] == "graph"
        return (Error(0),)

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        for step in self.graphs[graph]:
            self.enqueue(stream, step)
        return (Error(0),)

    def cudaGraphExecDestroy(self, graph):
        del self.graphs[graph]
        return (Error(0),)

    def cudaEventCreate(self):
        self.events[self.next] = None
        self.next += 1
        return Error(0), self.next - 1

    def cudaEventRecord(self, event, stream):
        """The clock of this GPU counts the steps that it has done."""
        assert event in self.events
        self.streams[stream].append(lambda: self.events.__setitem__(event, self.steps))
        return (Error(0),)

    def cudaEventElapsedTime(self, start, end):
        first, last = self.events[start], self.events[end]
        assert first is not None and last is not None, "an event was read before the GPU came to it"
        return Error(0), float(last - first - 1)

    def cudaEventDestroy(self, event):
        del self.events[event]
        return (Error(0),)
