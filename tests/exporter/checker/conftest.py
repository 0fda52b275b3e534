"""Small graphs, and NVIDIA's own builder to hold the rules against."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

SHAPES = ((1, 16), (8, 64), (16, 128))
"""The smallest, best and largest values of the two dynamic axes."""


def node(operator, inputs, outputs, name="", **attributes):
    """A node from names in one string each, called after what it makes: node("MatMul", "x w", "y")."""
    names = [[part.strip("-") for part in text.split()] for text in (inputs, outputs)]
    return helper.make_node(operator, *names, name=name or f"{operator} {outputs}", **attributes)


def graph(nodes, weights=None, inputs=None, outputs=None, domains=()):
    """An onnx_ir.Model; without other words x and y are fp16 [B, L, 64]. Types are names such as FLOAT16."""
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]

    def declare(wanted):
        wanted = {name: one if isinstance(one, tuple) else (one, ("B", "L", 64)) for name, one in wanted.items()}
        return [helper.make_tensor_value_info(n, getattr(TensorProto, t), shape) for n, (t, shape) in wanted.items()]

    made = helper.make_graph(
        nodes, "graph", declare(inputs or {"x": "FLOAT16"}), declare(outputs or {"y": "FLOAT16"}), stored
    )
    versions = [helper.make_opsetid("", 23), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return ir.from_proto(helper.make_model(made, opset_imports=versions, ir_version=10))


@dataclass(frozen=True)
class Built:
    """What the builder made of a graph: the size of the plan, 0 where it refused, and (layer, kind, first dtype)."""

    size: int
    layers: tuple[tuple[str, str, str], ...]
    errors: str

    def __bool__(self):
        return self.size > 0


@pytest.fixture(scope="session")
def rtx():
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx, NVIDIA's builder, is not installed")


@pytest.fixture(scope="session")
def build(rtx):
    """Asks TensorRT-RTX to build a graph for Ada, strongly typed: build(graph) -> Built."""

    class Log(rtx.ILogger):
        def __init__(self):
            super().__init__()
            self.lines = []

        def log(self, severity, message):
            self.lines.append((severity.name, message))

    def run(graph):
        log = Log()
        builder = rtx.Builder(log)
        network = builder.create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = rtx.OnnxParser(network, log)
        if not parser.parse(ir.to_proto(graph).SerializeToString()):
            return Built(0, (), "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
        config = builder.create_builder_config()
        config.profiling_verbosity = rtx.ProfilingVerbosity.DETAILED
        config.num_compute_capabilities = 1
        config.set_compute_capability(rtx.ComputeCapability.SM89, 0)
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            if -1 in tuple(tensor.shape):
                sizes = [iter(shape) for shape in SHAPES]
                profile.set_shape(tensor.name, *([next(s) if n == -1 else n for n in tensor.shape] for s in sizes))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
        errors = "; ".join(message for severity, message in log.lines if severity == "ERROR")
        layers = []
        for _, message in log.lines:
            for name, kind, rest in re.findall(r"^Name: (.*?), LayerType: (\w+)(.*)$", message, re.MULTILINE):
                dtype = re.search(r"Datatype: (\w+)", rest)
                layers.append((name, kind, dtype[1] if dtype else ""))
        return Built(plan.nbytes if plan is not None else 0, tuple(layers), errors)

    return run
