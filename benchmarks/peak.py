"""What this processor's fp32 and int8 products reach at best, and what share of it the products of a model reach.

    python benchmarks/peak.py [--widths 384 1536] [--lengths 16 128 384] [--rounds 20]

One product on ONNX Runtime, on one thread: float32 MatMul, and uint8 by int8 with int32 sums (MatMulInteger), and that
with its scales (MatMulIntegerToFloat, which int8 linear layers become). The best of all, square products of several
sizes among them, is taken as the machine's peak: what a library written for this processor reaches, not what its data
sheet says. Processor time, the lowest of `--rounds` runs in turns. A multiplication and an addition are two operations.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bvx.runtime.machine import cpu_features

__all__: list[str] = []

SQUARES = (256, 512, 1024, 1536)
KINDS = ("float32", "int8", "int8 to float")
_TYPES = {"float32": TensorProto.FLOAT, "int8": TensorProto.INT32, "int8 to float": TensorProto.FLOAT}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", type=int, default=[384, 1536])
    parser.add_argument("--lengths", nargs="+", type=int, default=[16, 128, 384])
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    narrow, wide = min(asked.widths), max(asked.widths)
    pairs = ((narrow, narrow), (narrow, wide), (wide, narrow))
    shapes = [(side, side, side) for side in SQUARES]
    shapes += [(length, *pair) for length in asked.lengths for pair in pairs]
    found = measure(shapes, asked.rounds)
    peaks = {kind: max(rates[kind] for rates in found.values()) for kind in KINDS}
    peaks["int8 to float"] = peaks["int8"] = max(peaks["int8"], peaks["int8 to float"])
    name = cpu_features()["name"]
    print(f"{name}, one thread, onnxruntime {onnxruntime.__version__}, the lowest of {asked.rounds} runs.")
    print(f"Peak: {peaks['float32']:.0f} Gop/s in float32, {peaks['int8']:.0f} in int8.\n")
    print("| rows x inner x columns | " + " | ".join(f"{kind}, Gop/s | share of peak" for kind in KINDS) + " |")
    print("|---|" + "---|---|" * len(KINDS))
    for shape, rates in found.items():
        cells = (f"{rates[kind]:.0f} | {rates[kind] / peaks[kind]:.0%}" for kind in KINDS)
        print(f"| {' x '.join(map(str, shape))} | {' | '.join(cells)} |")


def measure(shapes: Sequence[tuple[int, int, int]], rounds: int) -> dict[tuple[int, int, int], dict[str, float]]:
    """Billions of operations a second for each shape and kind."""
    found = {}
    for rows, inner, columns in shapes:
        rates = {}
        sessions = {kind: open_product(kind, inner, columns) for kind in KINDS}
        random = np.random.default_rng(0)
        floats = {"x": random.standard_normal((rows, inner)).astype(np.float32)}
        integers = {"x": random.integers(0, 256, (rows, inner), np.uint8)}
        repeats = max(1, round(2e8 / (2 * rows * inner * columns)))
        taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for kind, session in sessions.items():
                feeds = floats if kind == "float32" else integers
                began = time.thread_time()
                for _ in range(repeats):
                    session.run(None, feeds)
                taken[kind].append((time.thread_time() - began) / repeats)
        for kind, seconds in taken.items():
            rates[kind] = 2e-9 * rows * inner * columns / min(seconds)
        found[rows, inner, columns] = rates
    return found


def open_product(kind: str, inner: int, columns: int) -> Any:
    """A session with one product `x [rows, inner] @ w [inner, columns]`, whose weights are -64..64."""
    weights = np.random.default_rng(1).integers(-64, 65, (inner, columns)).astype(np.int8)
    zeros = {"x_zero": np.uint8(128), "w_zero": np.int8(0)}
    scales = {"x_scale": np.float32(0.01), "w_scale": np.full(columns, 0.01, np.float32)}
    if kind == "float32":
        constants, names, operator, domain = {"w": weights.astype(np.float32)}, ["x", "w"], "MatMul", ""
    elif kind == "int8":
        constants, names = {"w": weights, **zeros}, ["x", "w", "x_zero", "w_zero"]
        operator, domain = "MatMulInteger", ""
    else:
        names = ["x", "w", "x_scale", "w_scale", "x_zero", "w_zero"]
        constants = {"w": weights, **scales, "x_zero": zeros["x_zero"], "w_zero": np.zeros(columns, np.int8)}
        operator, domain = "MatMulIntegerToFloat", "com.microsoft"
    dtype = TensorProto.FLOAT if kind == "float32" else TensorProto.UINT8
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], domain=domain)],
        "product",
        [helper.make_tensor_value_info("x", dtype, [None, inner])],
        [helper.make_tensor_value_info("y", _TYPES[kind], [None, columns])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = helper.make_model(graph, opset_imports=domains, ir_version=10).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
