"""A GPU that is not there: a counting CUDA, NVIDIA's bindings of a version, and a context that computes in NumPy."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bvx.runtime.bundle import Bundle
from bvx.runtime.cache import store_engine
from bvx.runtime.manifest import EngineFile, Profile, Variant
from bvx.runtime.parity import Tolerance

PLAN = b"a plan"
PROFILES = (Profile((1, 1), (2, 8), (4, 12)), Profile((1, 1), (8, 24), (16, 24)))
VARIANT = Variant("fp16", "tensorrt", "onnx/cpu/fp32.onnx", "verified")
ON_CPU = Variant("fp32", "cpu", "onnx/cpu/fp32.onnx", "verified")
TOLERANCE = Tolerance(1e-4, 1e-5, 0.999999, 1.0)


def end_by_exit_code(work):
    """The exit code of a forked child that does `work`; a child that hangs is killed after a minute."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@dataclass(frozen=True)
class Machine:
    """What was installed, and a bundle with a plan for it in the machine's cache."""

    trt: Any
    cuda: Any
    engine: str
    bundle: Any

    def store(self, **fields):
        """Put a plan into the cache, described as for this machine but for `fields`."""
        record = EngineFile(
            variant=VARIANT.key,
            engine=self.engine,
            version=self.trt.__version__,
            gpus=("sm_89",),
            file="engines/fp16.plan",
            sha256=hashlib.sha256(PLAN).hexdigest(),
            bytes=len(PLAN),
            profiles=PROFILES,
        )
        return store_engine(Bundle.open(self.bundle.path), replace(record, **fields), PLAN)


@pytest.fixture
def machine(fake_trt, fake_cuda, make_bundle, tmp_path, monkeypatch):
    """Installs everything: machine(surface, plan=True, **gpu) -> Machine; without `plan` nothing was built."""

    def install(surface="11.4.0.106", plan=True, variants=(VARIANT,), **gpu):
        monkeypatch.setenv("BVX_CACHE", str(tmp_path / "cache"))
        bundle = make_bundle(
            "text-classification", variants=variants, tolerances={one.precision: TOLERANCE for one in variants}
        )
        cuda = fake_cuda(**gpu)
        module, engine = ("tensorrt_rtx", "tensorrt-rtx") if surface.startswith("rtx") else ("tensorrt", "tensorrt")
        trt = fake_trt(surface, behaviour(module, cuda, bundle))
        made = Machine(trt, cuda, engine, bundle)
        if plan:
            made.store()
        return made

    return install


def behaviour(module, cuda, bundle):
    """How the stand-in's engine and contexts behave: as the bundle's own graph, in the memory of the fake CUDA."""
    inputs = {spec.name: spec for spec in bundle.manifest.inputs}
    outputs = {spec.name: spec for spec in bundle.manifest.outputs}
    names = [*inputs, *outputs]

    def member(kind, choose):
        return lambda engine, name: getattr(getattr(sys.modules[module], kind), choose(name))

    def tensor(context, name, shape, dtype):
        address = context.__dict__["addresses"][name]
        memory = (ctypes.c_char * (int(np.prod(shape)) * np.dtype(dtype).itemsize)).from_address(address)
        return np.frombuffer(memory, dtype).reshape(shape)

    def shape_of(context, name):
        if name in inputs:
            return context.__dict__["shapes"][name]
        batch, length = context.__dict__["shapes"]["input_ids"]
        return tuple({"batch": batch, "sequence": length}.get(size, size) for size in outputs[name].shape)

    def execute(context, stream_handle):
        shapes = {name: shape_of(context, name) for name in names}
        memory = {name: context.__dict__["addresses"][name] for name in names}
        for name, shape in shapes.items():
            cuda._spot("device", memory[name], int(np.prod(shape)) * (8 if name in inputs else 4))

        def compute():
            feeds = {name: tensor(context, name, shapes[name], np.int64) for name in inputs}
            for name, array in bundle.reference(feeds).items():
                tensor(context, name, shapes[name], np.float32)[...] = array

        cuda.enqueue(stream_handle, compute)
        return True

    def remember(kind):
        def keep(context, **given):
            context.__dict__.setdefault(kind, {})[given["name"]] = given.get("shape", given.get("memory"))
            return True

        return keep

    def profile_shape(engine, name, profile_index):
        profile = PROFILES[profile_index]
        return [profile.min, profile.opt, profile.max]

    return {
        "ICudaEngine.num_io_tensors": len(names),
        "ICudaEngine.num_optimization_profiles": len(PROFILES),
        "ICudaEngine.get_tensor_name": lambda engine, index: names[index],
        "ICudaEngine.get_tensor_mode": member("TensorIOMode", lambda name: "INPUT" if name in inputs else "OUTPUT"),
        "ICudaEngine.get_tensor_dtype": member("DataType", lambda name: "INT64" if name in inputs else "FLOAT"),
        "ICudaEngine.get_tensor_shape": lambda engine, name: tuple(
            -1 if isinstance(size, str) else size for size in {**inputs, **outputs}[name].shape
        ),
        "ICudaEngine.get_tensor_profile_shape": profile_shape,
        "IExecutionContext.set_input_shape": remember("shapes"),
        "IExecutionContext.set_tensor_address": remember("addresses"),
        "IExecutionContext.get_tensor_shape": lambda context, name: shape_of(context, name),
        "IExecutionContext.execute_async_v3": execute,
    }
