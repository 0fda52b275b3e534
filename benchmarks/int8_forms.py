"""Measure the forms that an int8 graph can take on ONNX Runtime's CPU engine, as the table in docs/cpu.md.

    python benchmarks/int8_forms.py [--rounds 15] [--models all-MiniLM-L6-v2] [--shapes 1x128,8x128]

One thread. Weights are random and ranges invented: speed depends on neither.
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
from forms import merge_projections

from bvx.calibration.plain import plain_recipe
from bvx.calibration.ranges import Corpus, Ranges
from bvx.calibration.recipe import Recipe
from bvx.calibration.sites import find_linears
from bvx.exporter.bench.plan import read_shapes
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


def skip_the_mask(operator: str, domain: str = "") -> Callable[[ir.Model], None]:
    """Attention is `If(nothing is masked, operator without a mask, Attention with it)`: the same answers."""

    def rewrite(model: ir.Model) -> None:
        graph = model.graph
        mask = next(value for value in graph.inputs if value.name == "attention_mask")
        least = ir.node("ReduceMin", [mask], {"keepdims": 0})
        whole = ir.node("Cast", [least.outputs[0]], {"to": ir.DataType.BOOL})
        graph.insert_before(graph[0], [least, whole])
        graph.opset_imports["com.microsoft"] = 1
        for number, node in enumerate([one for one in graph if one.op_type == "Attention"]):
            attributes = dict(node.attributes)
            if domain:
                attributes = {"num_heads": ir.AttrInt64("num_heads", node.attributes["q_num_heads"].as_int())}
                attributes["scale"] = ir.AttrFloat32("scale", node.attributes["scale"].as_float())
            plain = ir.Node(domain, operator, node.inputs[:3], list(attributes.values()))
            masked = ir.Node("", "Attention", node.inputs, list(node.attributes.values()))
            branches = {}
            for name, one in (("then_branch", plain), ("else_branch", masked)):
                one.outputs[0].name = f"{name}_{number}"
                one.outputs[0].shape, one.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
                branches[name] = ir.Graph([], [one.outputs[0]], nodes=[one], name=f"{name}_{number}")
            chosen = ir.node("If", [whole.outputs[0]], branches)
            chosen.outputs[0].shape, chosen.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
            values = [node.outputs[0]], [chosen.outputs[0]]
            ir.convenience.replace_nodes_and_values(graph, node, [node], [chosen], *values)

    return rewrite


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
    Form("no mask where nothing is masked", after=skip_the_mask("Attention")),
    Form("the same, by MultiHeadAttention", after=skip_the_mask("MultiHeadAttention", "com.microsoft")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--models", nargs="+", default=["all-MiniLM-L6-v2"])
    parser.add_argument("--shapes", type=read_shapes, default=SHAPES, metavar="1x128,8x128")
    parser.add_argument("--forms", nargs="+", help="Words of the forms' names; all where none is given.")
    asked = parser.parse_args()
    for name in asked.models:
        plan = ExportPlan(model=name, out=Path(os.devnull), random_weights=True, task="feature-extraction")
        canonical, _ = make_canonical(load_checkpoint(plan))
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            chosen = [one for one in FORMS if not asked.forms or any(word in one.name for word in asked.forms)]
            for index, form in enumerate(chosen):
                model, path = form.build(canonical), Path(folder) / f"{index}.onnx"
                ir.save(model, path)
                files[f"{form.name} ({stored_bytes(model) / 1e6:.0f} MB)"] = OnnxFile(path, form.disabled)
            document = measure_files(files, asked.shapes, asked.rounds, threads=1)
        print("\n".join((describe_conditions(document), *show_medians(name, document))), flush=True)


if __name__ == "__main__":
    main()
