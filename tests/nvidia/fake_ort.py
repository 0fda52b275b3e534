"""A stand-in for onnxruntime-gpu: the Python surface of the installed onnxruntime, computing in a fake CUDA's memory.

Options are the real package's own objects, calls are checked against its real signatures, and names that it does not
have raise AttributeError. Provider options are those that libonnxruntime_providers_cuda.so of onnxruntime-gpu 1.31.1
reads. What the real provider forbids fails here: graphs from a second thread, buffers that a graph knows being freed.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
import threading
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as real

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

PROVIDER_OPTIONS = {
    *("device_id", "user_compute_stream", "has_user_compute_stream", "do_copy_in_default_stream", "use_tf32"),
    *("arena_extend_strategy", "gpu_mem_limit", "enable_cuda_graph", "prefer_nhwc", "sdpa_kernel", "fuse_conv_bias"),
    *("cudnn_conv_algo_search", "cudnn_conv_use_max_workspace", "cudnn_conv1d_pad_to_nc1d", "tunable_op_enable"),
    *("gpu_external_alloc", "gpu_external_free", "gpu_external_empty_cache", "use_ep_level_unified_stream"),
    *("tunable_op_tuning_enable", "tunable_op_max_tuning_duration_ms", "enable_skip_layer_norm_strict_mode"),
}

CONFIG_KEYS = {"session.intra_op.allow_spinning", "session.record_ep_graph_assignment_info"}


class FakeOrt:
    """`misses` what is not there: "provider" (the package for the processor), "libraries" of CUDA.

    `strays` are the operators that land on the processor, and `captures` is False where no graph can be made.
    """

    SessionOptions = real.SessionOptions
    RunOptions = real.RunOptions
    ExecutionMode = real.ExecutionMode
    GraphOptimizationLevel = real.GraphOptimizationLevel
    __spec__ = ModuleSpec("onnxruntime", None)

    def __init__(self, cuda, version="1.31.1", misses="", strays=("Shape", "Concat"), captures=True):
        self.cuda, self.__version__, self.misses, self.strays, self.captures = cuda, version, misses, strays, captures
        self.calls = []

    def get_available_providers(self):
        return [CPU] if self.misses == "provider" else ["TensorrtExecutionProvider", CUDA, CPU]

    def preload_dlls(self, *given, **more):
        bind(real.preload_dlls, given, more)
        if self.misses == "libraries":
            sys.stdout.write("Failed to load libcudnn.so.9: it is not there")

    def InferenceSession(self, *given, **more):
        self.calls.append(asked := bind(real.InferenceSession.__init__, (None, *given), more))
        return FakeSession(self, asked)


class FakeSession:
    def __init__(self, module, asked):
        self._module, self._cuda = module, module.cuda
        ((name, self.options),) = asked["providers"]
        unknown = set(self.options) - PROVIDER_OPTIONS
        assert name == CUDA and not unknown, f"no such provider options: {unknown}"
        assert all(isinstance(value, str) for value in self.options.values())
        extra = set(asked["kwargs"]) - {"disabled_optimizers", "enable_fallback"}
        assert not extra and asked["kwargs"]["enable_fallback"] == 0, "it would print, and go on on the processor"
        for key in CONFIG_KEYS:
            asked["sess_options"].get_session_config_entry(key)  # Raises where it was not set.
        if self.options["enable_cuda_graph"] == "1" and not module.captures:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature")
        disabled = asked["kwargs"]["disabled_optimizers"]
        self._real = real.InferenceSession(
            asked["path_or_bytes"], asked["sess_options"], providers=[CPU], disabled_optimizers=disabled
        )
        self._nodes = onnx.load(asked["path_or_bytes"], load_external_data=False).graph.node
        self._stream = int(self.options["user_compute_stream"])
        self._graphs, self._thread = {}, None
        assert self._stream in self._cuda.streams

    def get_inputs(self):
        return self._real.get_inputs()

    def get_outputs(self):
        return self._real.get_outputs()

    def get_providers(self):
        return [CPU] if self._module.misses == "libraries" else [CUDA, CPU]

    def get_provider_graph_assignment_info(self):
        parts = {CUDA: [], CPU: []}
        for node in self._nodes:
            parts[CPU if node.op_type in self._module.strays else CUDA].append(node)
        return [SimpleNamespace(ep_name=name, get_nodes=lambda nodes=nodes: nodes) for name, nodes in parts.items()]

    def io_binding(self):
        return FakeBinding(self)

    def run_with_iobinding(self, *given, **more):
        asked = bind(real.InferenceSession.run_with_iobinding, (None, *given), more)
        binding, number = asked["iobinding"], asked["run_options"].get_run_config_entry("gpu_graph_id")
        assert binding.session is self
        self._thread = self._thread or threading.get_ident()
        assert self._thread == threading.get_ident(), "a session with graphs is called from a second thread"
        bound = dict(binding.bound)
        if number != "-1":
            assert self.options["enable_cuda_graph"] == "1"
            if number not in self._graphs:
                self._graphs[number] = bound
                self._cuda.launches -= 1
            bound = self._graphs[number]  # What was captured, whatever is bound now.
            self._cuda.launches += 1
        for address, kind, shape, _ in bound.values():
            self._cuda._spot("device", address, int(np.prod(shape)) * np.dtype(kind).itemsize)
        self._cuda.enqueue(self._stream, lambda: self._compute(bound))
        self._cuda.cudaStreamSynchronize(self._stream)

    def _compute(self, bound):
        def at(address, kind, shape, _):
            memory = (ctypes.c_char * (int(np.prod(shape)) * np.dtype(kind).itemsize)).from_address(address)
            return np.frombuffer(memory, kind).reshape(shape)

        feeds = {name: at(*one).copy() for name, one in bound.items() if one[3] == "in"}
        names = [name for name, one in bound.items() if one[3] == "out"]
        for name, array in zip(names, self._real.run(names, feeds), strict=True):
            at(*bound[name])[...] = array


class FakeBinding:
    def __init__(self, session):
        self.session, self.bound = session, {}

    def bind_input(self, *given, **more):
        self._bind(bind(real.IOBinding.bind_input, (None, *given), more), "in")

    def bind_output(self, *given, **more):
        self._bind(bind(real.IOBinding.bind_output, (None, *given), more), "out")

    def _bind(self, asked, way):
        assert (asked["device_type"], asked["device_id"]) == ("cuda", 0) and isinstance(asked["element_type"], type)
        self.bound[asked["name"]] = (asked["buffer_ptr"], asked["element_type"], tuple(asked["shape"]), way)


def bind(function, given, more):
    """The arguments by name, as the real function takes them; TypeError where it does not."""
    found = inspect.signature(function).bind(*given, **more)
    found.apply_defaults()
    return found.arguments
