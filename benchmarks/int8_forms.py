"""Measure the forms that an int8 graph can take on ONNX Runtime's CPU engine, as the table in docs/cpu.md.

    python benchmarks/int8_forms.py [--rounds 15] [--models all-MiniLM-L6-v2] [--shapes 1x128 8x128]

Processor time of one thread, all forms in turns: other work on the machine counts little. Weights are random and
ranges invented: speed depends on neither.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from forms import merge_projections
from turns import SHAPES, WARM_UP, feeds, machine, read_shape, table

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.recipe import Recipe
from bvx.calibration.sites import find_linears
from bvx.exporter.checkpoint import load_checkpoint
from bvx.exporter.pipeline import make_canonical
from bvx.exporter.plan import ExportPlan
from bvx.exporter.storage import stored_bytes
from bvx.exporter.targets import cpu, tensorrt

OFF = tuple(cpu.ENGINE_OPTIONS["disabled_optimizers"])


@dataclass(frozen=True)
class Form:
    """A way to write a recipe down, what is done to the graph before and after, and what ORT must not do."""

    name: str
    write: Callable[[ir.Model, Recipe], object] = cpu.write_int8
    before: Callable[[ir.Model], None] = lambda model: None
    after: Callable[[ir.Model], None] = lambda model: None
    embeddings: bool = True
    disabled: Sequence[str] = OFF

    def build(self, canonical: ir.Model) -> ir.Model:
        model = canonical.clone()
        self.before(model)
        names = {linear.input for linear in find_linears(model.graph)}
        ranges = Ranges("invented", Corpus("", 0, 0, 0, 0, ""), dict.fromkeys(names, (-4.0, 4.0)), {})
        self.write(model, plain_recipe(model.graph, ranges, embeddings=self.embeddings))
        self.after(model)
        for weight in [value for value in model.graph.initializers.values() if not value.uses()]:
            del model.graph.initializers[str(weight.name)]
        model.graph.sort()
        return model


def unsigned_weights(model: ir.Model) -> None:
    """uint8 weights around 128, for which there are kernels that cannot saturate."""
    for node in model.graph:
        if node.op_type == "DequantizeLinear":
            for value in (node.inputs[0], node.inputs[2]):
                if value is not None and value.const_value is not None and value.dtype == ir.DataType.INT8:
                    numbers = value.const_value.numpy().astype(np.int16) + 128
                    value.const_value = ir.Tensor(numbers.astype(np.uint8), name=value.name)
                    value.dtype = ir.DataType.UINT8


def whole_tables(model: ir.Model) -> None:
    """The table is dequantised in front of the Gather."""
    for rows in [node for node in model.graph if node.op_type == "Gather" and node.inputs[0] is not None]:
        source = rows.inputs[0]
        if source is None or source.dtype != ir.DataType.INT8:
            continue
        floats = ir.node("DequantizeLinear", [source, model.graph.initializers[f"{source.name}.scale"]], {"axis": 0})
        product = rows.outputs[0].consumers()[0].outputs[0].consumers()[0]
        again = ir.node("Gather", [floats.outputs[0], rows.inputs[1]], {"axis": 0})
        model.graph.insert_before(rows, [floats, again])
        product.outputs[0].replace_all_uses_with(again.outputs[0])


FORMS = (
    Form("fp32, the canonical graph", lambda model, recipe: None),
    Form("int8 (bvx)"),
    Form("the same, ONNX Runtime's defaults", disabled=()),
    Form("tables in float", embeddings=False),
    Form("tables dequantised before they are looked up", after=whole_tables),
    Form("QKV in one GEMM", before=merge_projections),
    Form("uint8 weights", after=unsigned_weights),
    Form("int8 activations, as TensorRT wants them", tensorrt.quantize),
    Form("dynamic int8", cpu.write_dynamic_int8),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", default=["all-MiniLM-L6-v2"])
    parser.add_argument("--shapes", nargs="+", type=read_shape, default=SHAPES)
    asked = parser.parse_args()
    print(machine(1, asked.rounds), "Processor time.", f"onnxruntime {onnxruntime.__version__}.")
    for name in asked.models:
        plan = ExportPlan(model=name, out=Path(os.devnull), random_weights=True, task="feature-extraction")
        canonical, _ = make_canonical(load_checkpoint(plan))
        sessions = {}
        for form in FORMS:
            model = form.build(canonical)
            sessions[f"{form.name} ({stored_bytes(model) / 1e6:.0f} MB)"] = open_session(model, form.disabled)
        print(table(name, asked.shapes, take_turns(sessions, asked.shapes, asked.rounds)), flush=True)


def open_session(model: ir.Model, disabled: Sequence[str]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    content = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )


def take_turns(sessions: dict[str, Any], shapes: Sequence[tuple[int, int]], rounds: int) -> dict[str, list[float]]:
    """Median milliseconds of processor time per session, one for each shape. On one thread none spins."""
    medians: dict[str, list[float]] = {name: [] for name in sessions}
    for batch, length in shapes:
        times: dict[str, list[float]] = {name: [] for name in sessions}
        for turn in range(rounds + WARM_UP):
            for name, session in sessions.items():
                inputs = feeds([value.name for value in session.get_inputs()], batch, length)
                started = time.thread_time()
                session.run(None, inputs)
                if turn >= WARM_UP:
                    times[name].append((time.thread_time() - started) * 1e3)
        for name, taken in times.items():
            medians[name].append(statistics.median(taken))
    return medians


if __name__ == "__main__":
    main()
