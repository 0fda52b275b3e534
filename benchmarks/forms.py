"""Measure the forms that a graph can take on ONNX Runtime's CPU engine; print them as the table in docs/cpu.md.

    python benchmarks/forms.py [--rounds 15] [--threads 1] [--models all-MiniLM-L6-v2 roberta-base albert-base-v2]

Every form runs in a process of its own; the processes take turns, one run each, so that a machine whose speed drifts
drifts for all of them. Figures are medians; weights are random (speed does not depend on them).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime

from bvx.exporter.targets import attention, cpu

SHAPES = ((1, 16), (1, 128), (8, 128), (1, 384))
NO_SKIP = ("SkipLayerNormFusion",)


@dataclass(frozen=True)
class Form:
    """A way to write the graph: what is done to the canonical graph, and what ONNX Runtime must leave alone."""

    name: str
    rewrite: Callable[[ir.Model], None]
    disabled: tuple[str, ...] = NO_SKIP
    level: str = "all"


def as_it_is(model: ir.Model) -> None:
    pass


def split_heads_inside(model: ir.Model) -> None:
    """3-D Attention: the heads are split by the operator, not by Reshape and Transpose around it."""
    for found in attention.find_attentions(model.graph):
        parts = [_projected(found.node.inputs[index]) for index in range(3)]
        node = cpu.attention_of(parts, found)
        attention.replace_attention(model.graph, found, [node], node.outputs[0])


def _projected(value: ir.Value | None) -> ir.Value:
    """What stands before the Reshape and the Transpose."""
    transpose = value.producer() if value is not None else None
    reshape = transpose.inputs[0].producer() if transpose is not None and transpose.inputs[0] is not None else None
    assert reshape is not None and reshape.inputs[0] is not None
    return reshape.inputs[0]


def multi_head(model: ir.Model) -> None:
    """com.microsoft.MultiHeadAttention with a key padding mask, separate projections."""
    _contrib(model, merged=False)


def multi_head_merged(model: ir.Model) -> None:
    """com.microsoft.MultiHeadAttention after one GEMM for Q, K and V."""
    _contrib(model, merged=True)


def _contrib(model: ir.Model, merged: bool) -> None:
    padding = _padding(model.graph)
    for found in attention.find_attentions(model.graph):
        new: list[ir.Node] = []
        if merged:
            weight, bias = attention.merge_projections(model.graph, found)
            new, parts = cpu.project(found.query.x, weight, bias)
        else:
            parts = [_projected(found.node.inputs[index]) for index in range(3)]
        node = ir.node(
            "MultiHeadAttention",
            [*parts, None, padding],
            {"num_heads": found.heads, "scale": found.scale},
            domain="com.microsoft",
        )
        attention.replace_attention(model.graph, found, [*new, node], node.outputs[0])


def whole_attention(model: ir.Model) -> None:
    """com.microsoft.Attention: the GEMM for Q, K and V and the attention in one operator."""
    padding = _padding(model.graph)
    for found in attention.find_attentions(model.graph):
        weight, bias = attention.merge_projections(model.graph, found)
        node = ir.node(
            "Attention",
            [found.query.x, weight, bias, padding],
            {"num_heads": found.heads, "scale": found.scale},
            domain="com.microsoft",
        )
        attention.replace_attention(model.graph, found, [node], node.outputs[0])


def _padding(graph: ir.Graph) -> ir.Value:
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    cast = ir.node("Cast", [mask], {"to": ir.DataType.INT32})
    graph.insert_before(graph[0], cast)
    graph.opset_imports["com.microsoft"] = 1
    return cast.outputs[0]


def merged_3d(model: ir.Model) -> None:
    cpu.merge_attention(model)


FORMS = (
    Form("canonical, ONNX Runtime's defaults", as_it_is, disabled=()),
    Form("canonical, Add + LayerNormalization", as_it_is),
    Form("canonical, Gelu without BiasGelu", as_it_is, disabled=(*NO_SKIP, "BiasGeluFusion")),
    Form("3-D Attention", split_heads_inside),
    Form("QKV in one GEMM, 3-D Attention", merged_3d),
    Form("MultiHeadAttention, key padding mask", multi_head),
    Form("QKV in one GEMM, MultiHeadAttention", multi_head_merged),
    Form("com.microsoft.Attention", whole_attention),
)


def feeds(inputs: list[str], batch: int, length: int) -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 1000, (batch, length), dtype=np.int64)
    values = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    return {name: values[name] for name in inputs}


def serve(path: str, disabled: str, level: str, threads: int) -> None:
    """A worker: reads "batch length" lines, runs once each, answers with milliseconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}".upper().replace("ORT_ALL", "ORT_ENABLE_ALL"))
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=[d for d in disabled.split(",") if d]
    )
    names = [value.name for value in session.get_inputs()]
    print("ready", flush=True)
    for line in sys.stdin:
        batch, length = map(int, line.split())
        arrays = feeds(names, batch, length)
        started = time.perf_counter()
        session.run(None, arrays)
        print((time.perf_counter() - started) * 1e3, flush=True)


class Worker:
    def __init__(self, path: Path, form: Form, threads: int) -> None:
        command = [sys.executable, __file__, "--serve", str(path), ",".join(form.disabled), form.level, str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("a worker ended before it answered; its error stands above")
        return line

    def run(self, batch: int, length: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{batch} {length}\n")
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(files: Mapping[Form, Path], rounds: int, threads: int) -> dict[str, list[float]]:
    """Medians in milliseconds per form, one for each of SHAPES."""
    workers = {form: Worker(path, form, threads) for form, path in files.items()}
    medians: dict[str, list[float]] = {form.name: [] for form in workers}
    for batch, length in SHAPES:
        times: dict[str, list[float]] = {form.name: [] for form in workers}
        for turn in range(rounds + 2):
            for form, worker in workers.items():
                taken = worker.run(batch, length)
                if turn >= 2:
                    times[form.name].append(taken)
        for name, taken_all in times.items():
            medians[name].append(statistics.median(taken_all))
    for worker in workers.values():
        worker.close()
    return medians


def main() -> None:
    from bvx.exporter.capture import capture
    from bvx.exporter.checkpoint import load_checkpoint
    from bvx.exporter.passes import run_passes
    from bvx.exporter.plan import ExportPlan

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["all-MiniLM-L6-v2", "roberta-base", "albert-base-v2"])
    asked = parser.parse_args()
    header = " | ".join(f"{batch}x{length}" for batch, length in SHAPES)
    print(f"onnxruntime {onnxruntime.__version__}, {asked.threads} thread(s), medians of {asked.rounds} runs in turns, ms")
    for name in asked.models:
        plan = ExportPlan(model=name, out=Path("unused"), random_weights=True, task="feature-extraction")
        checkpoint = load_checkpoint(plan)
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for index, form in enumerate(FORMS):
                model = capture(checkpoint.model, checkpoint.family.inputs, ("last_hidden_state",))
                run_passes(model)
                form.rewrite(model)
                cpu.tidy(model)
                files[form] = Path(folder) / f"{index}.onnx"
                ir.save(model, files[form])
            medians = measure(files, asked.rounds, asked.threads)
        print(f"\n| {name} | {header} |\n|---|" + "---|" * len(SHAPES))
        for form_name, row in medians.items():
            print(f"| {form_name} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        at = sys.argv.index("--serve")
        serve(sys.argv[at + 1], sys.argv[at + 2], sys.argv[at + 3], int(sys.argv[at + 4]))
    else:
        main()
