"""How many kernels a layer becomes in each form of attention, without a GPU: the table in docs/tensorrt.md.

    python benchmarks/plan_forms.py [--precision fp16] [--profile 1x1:8x128:32x512] [--gpu sm_89]

Three layers of MiniLM's shape with random weights, built by TensorRT-RTX; a form that says nothing else computes the
same numbers as the others.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
from forms import merge_projections
from onnx_ir.passes import common
from pages import table

from bvx.exporter.capture import capture
from bvx.exporter.checkpoint.config import complete_config
from bvx.exporter.checkpoint.standin import make_random_model
from bvx.exporter.families import known_families
from bvx.exporter.passes import CANONICAL, run_passes
from bvx.exporter.passes.heads import split_heads_inside
from bvx.exporter.request import read_profile
from bvx.exporter.targets.attention import take_apart
from bvx.exporter.targets.half import BF16, FP16, narrow
from bvx.exporter.tensorrt import BuildOptions, build_plan
from bvx.runtime.tasks import find_task

__all__ = ["FORMS"]

MINILM = {
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "num_hidden_layers": 3,
    "vocab_size": 1000,
    "max_position_embeddings": 512,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("fp16", "bf16"), default="fp16")
    parser.add_argument("--profile", default="1x1:8x128:32x512")
    parser.add_argument("--gpu", default="sm_89")
    asked = parser.parse_args()
    options = BuildOptions("tensorrt-rtx", (read_profile(asked.profile),), gpus=(asked.gpu,))
    family, task = known_families()["bert"], find_task("feature-extraction")
    model = make_random_model(complete_config({**family.tiny, **MINILM}, family), task, 0)
    raw = capture(model, family.inputs, family.outputs(task))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (outside, change) in FORMS.items():
            path = Path(folder) / "form.onnx"
            ir.save(write(raw, outside, change, asked.precision), path)
            plan = build_plan(path, asked.precision, options)
            audit = plan.audit
            fused = f"{audit.fused} of {audit.attentions}"
            cells = (str(audit.kernels), f"{audit.kernels_per_layer:g}", fused, f"{len(plan.data) / 1e6:.2f}")
            rows.append((name, *cells))
            print(*rows[-1], flush=True)
    print("\n".join(table(("form", "kernels", "a layer", "attention fused", "plan MB"), rows)))


def write(raw: ir.Model, outside: bool, change: Callable[[ir.Model], object], precision: str) -> ir.Model:
    """The graph of a form; `outside` leaves the split into heads in front of Attention."""
    graph = raw.clone()
    run_passes(graph, [one for one in CANONICAL if not outside or one is not split_heads_inside])
    change(graph)
    common.RemoveUnusedNodesPass()(graph)
    graph.graph.sort()
    narrow(graph, BF16 if precision == "bf16" else FP16)
    return graph


def apart(model: ir.Model) -> None:
    """Products and a softmax in the place of every Attention."""
    take_apart(model.graph, [str(node.name) for node in model.graph if node.op_type == "Attention"])


def _merged_and_apart(model: ir.Model) -> None:
    merge_projections(model)
    for number, node in enumerate(one for one in model.graph if one.op_type == "Attention"):
        node.name = f"attention.{number}"
    apart(model)


def _narrow_mask(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type == "Attention" and node.inputs[3] is not None:
            maker = node.inputs[3].producer()
            if maker is not None and maker.op_type == "Expand":
                node.replace_input_with(3, maker.inputs[0])


def _without_mask(model: ir.Model) -> None:
    for node in model.graph:
        if node.op_type == "Attention":
            node.resize_inputs(3)


FORMS: dict[str, tuple[bool, Callable[[ir.Model], object]]] = {
    "4-D `Attention`, heads split in front of it": (True, lambda model: None),
    "3-D `Attention` (bvx)": (False, lambda model: None),
    "3-D `Attention`, mask [batch, 1, 1, length]": (False, _narrow_mask),
    "3-D `Attention`, Q, K, V as one MatMul and Split": (False, merge_projections),
    "3-D `Attention` without a mask (another model)": (False, _without_mask),
    "taken apart (bvx: fp32, kept attention, before 10.14)": (False, apart),
    "taken apart, Q, K, V as one MatMul and Split": (False, _merged_and_apart),
}


if __name__ == "__main__":
    main()
