"""Measure the forms that a graph can take on ONNX Runtime's CPU engine, as the table in docs/cpu.md.

    python benchmarks/forms.py [--rounds 15] [--threads 1] [--models all-MiniLM-L6-v2 roberta-base] [--shapes 1x128]

Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from files import SHAPES, OnnxFile, describe_conditions, measure_files, show_medians
from onnx_ir.passes import common

from bvx.exporter.bench.plan import read_shapes
from bvx.exporter.capture import capture
from bvx.exporter.checkpoint import Checkpoint, load_checkpoint
from bvx.exporter.passes import CANONICAL, run_passes
from bvx.exporter.passes.heads import split_heads_inside
from bvx.exporter.plan import ExportPlan
from bvx.exporter.targets import cpu

NO_SKIP = ("SkipLayerNormFusion",)


@dataclass(frozen=True)
class Form:
    """A way to write the graph: the canonical passes it goes through, what is then done, and what ORT must not do."""

    name: str
    rewrite: Callable[[ir.Model], None] = lambda model: None
    disabled: tuple[str, ...] = NO_SKIP
    heads_outside: bool = False

    def build(self, checkpoint: Checkpoint) -> ir.Model:
        model = capture(checkpoint.model, checkpoint.family.inputs, ("last_hidden_state",))
        left_out = (split_heads_inside,) if self.heads_outside else ()
        run_passes(model, [one for one in CANONICAL if one not in left_out])
        self.rewrite(model)
        common.RemoveUnusedNodesPass()(model)
        model.graph.sort()
        return model


def merge_projections(model: ir.Model) -> None:
    """QKV in one GEMM: `Split(x [Wq Wk Wv] + [bq bk bv])` before the 3-D Attention."""
    for node in _attentions(model):
        nodes, parts = _project(model.graph, node)
        _replace(model.graph, node, nodes, "Attention", [*parts, node.inputs[3]], dict(node.attributes), "")


def multi_head(model: ir.Model) -> None:
    """com.microsoft.MultiHeadAttention with a key padding mask."""
    padding = _padding(model)
    for node in _attentions(model):
        inputs = [*node.inputs[:3], None, padding]
        _replace(model.graph, node, [], "MultiHeadAttention", inputs, _contrib(node), "com.microsoft")


def multi_head_merged(model: ir.Model) -> None:
    """The same after one GEMM for Q, K and V."""
    merge_projections(model)
    multi_head(model)


def whole_attention(model: ir.Model) -> None:
    """com.microsoft.Attention: the GEMM for Q, K and V and the attention in one operator."""
    padding = _padding(model)
    for node in _attentions(model):
        projections = [_linear(value) for value in node.inputs[:3]]
        weight, bias = _merged(model.graph, projections)
        inputs = [projections[0][0], weight, bias, padding]
        _replace(model.graph, node, [], "Attention", inputs, _contrib(node), "com.microsoft")


FORMS = (
    Form("4-D Attention, ONNX Runtime's defaults", disabled=(), heads_outside=True),
    Form("4-D Attention", heads_outside=True),
    Form("3-D Attention, ONNX Runtime's defaults", disabled=()),
    Form("3-D Attention"),
    Form("3-D Attention, Gelu without BiasGelu (bvx)", disabled=tuple(cpu.ENGINE_OPTIONS["disabled_optimizers"])),
    Form("QKV in one GEMM, 3-D Attention", merge_projections),
    Form("MultiHeadAttention, key padding mask", multi_head),
    Form("QKV in one GEMM, MultiHeadAttention", multi_head_merged),
    Form("com.microsoft.Attention", whole_attention),
)


def _attentions(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == "Attention" and not node.domain]


def _contrib(node: ir.Node) -> dict[str, float | int]:
    return {"num_heads": node.attributes["q_num_heads"].as_int(), "scale": node.attributes["scale"].as_float()}


def _padding(model: ir.Model) -> ir.Value:
    mask = next(value for value in model.graph.inputs if value.name == "attention_mask")
    cast = ir.node("Cast", [mask], {"to": ir.DataType.INT32})
    model.graph.insert_before(model.graph[0], cast)
    model.graph.opset_imports["com.microsoft"] = 1
    return cast.outputs[0]


def _linear(value: ir.Value | None) -> tuple[ir.Value, ir.Value, ir.Value]:
    """`x`, `weight` and `bias` of `MatMul(x, weight) + bias`."""
    addition = value.producer() if value is not None else None
    assert addition is not None and addition.inputs[0] is not None and addition.inputs[1] is not None
    product = addition.inputs[0].producer()
    assert product is not None and product.inputs[0] is not None and product.inputs[1] is not None
    return product.inputs[0], product.inputs[1], addition.inputs[1]


def _project(graph: ir.Graph, node: ir.Node) -> tuple[list[ir.Node], list[ir.Value]]:
    projections = [_linear(value) for value in node.inputs[:3]]
    weight, bias = _merged(graph, projections)
    product = ir.node("MatMul", [projections[0][0], weight])
    total = ir.node("Add", [product.outputs[0], bias])
    split = ir.node("Split", [total.outputs[0]], {"axis": -1, "num_outputs": 3}, num_outputs=3)
    return [product, total, split], list(split.outputs)


def _merged(graph: ir.Graph, projections: Sequence[tuple[ir.Value, ir.Value, ir.Value]]) -> list[ir.Value]:
    merged = []
    for index, axis in ((1, 1), (2, 0)):
        name = "+".join(str(projection[index].name) for projection in projections)
        if name not in graph.initializers:
            arrays = [projection[index].const_value.numpy() for projection in projections]  # type: ignore[union-attr]
            tensor = ir.Tensor(np.concatenate(arrays, axis), name=name)
            graph.register_initializer(
                ir.Value(name=name, shape=tensor.shape, type=projections[0][index].type, const_value=tensor)
            )
        merged.append(graph.initializers[name])
    return merged


def _replace(
    graph: ir.Graph,
    old: ir.Node,
    before: Sequence[ir.Node],
    operator: str,
    inputs: Sequence[ir.Value | None],
    attributes: dict[str, object],
    domain: str,
) -> None:
    new = ir.node(operator, inputs, attributes, domain=domain)  # type: ignore[arg-type]
    new.outputs[0].shape, new.outputs[0].type = old.outputs[0].shape, old.outputs[0].type
    ir.convenience.replace_nodes_and_values(graph, old, [old], [*before, new], [old.outputs[0]], [new.outputs[0]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", default=["all-MiniLM-L6-v2", "roberta-base", "albert-base-v2"])
    parser.add_argument("--shapes", type=read_shapes, default=SHAPES, metavar="1x128,8x128")
    asked = parser.parse_args()
    for name in asked.models:
        plan = ExportPlan(model=name, out=Path(os.devnull), random_weights=True, task="feature-extraction")
        checkpoint = load_checkpoint(plan)
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for index, form in enumerate(FORMS):
                path = Path(folder) / f"{index}.onnx"
                ir.save(form.build(checkpoint), path)
                files[form.name] = OnnxFile(path, form.disabled)
            document = measure_files(files, asked.shapes, asked.rounds, asked.threads)
        print("\n".join((describe_conditions(document), *show_medians(name, document))), flush=True)


if __name__ == "__main__":
    main()
