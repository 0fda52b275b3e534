"""What bf16's 8 digits cost: how far rounding a value moves what is computed from it, on real texts.

Range says nothing about bf16, which holds what float32 holds. What it lacks is digits: 1000.5 becomes 1000, and where
whoever reads that takes 1000 away again (a mean, another addend, a bias), nothing of the text is left.

    loss(x) = rms(f(bf16(x)) - f(x)) / rms(f(x) - mean over tokens of f(x))

for whichever f that reads x loses most, everything else in float32. What is the same for every token says nothing about
a text, so it does not count as something to lose from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from ..runtime.machine import allowed_cores
from .activations import Inputs

__all__ = ["measure_losses"]

_FLOAT = ir.DataType.FLOAT

_MEASURED = ("rows", "mean", "squares", "errors")
"""What the graph gives out of each tensor [rows, width]: its shape, the mean of each channel, two sums of squares."""

_STILL = 1e-5
"""Share of its size below which what changes from token to token is float32's own rounding."""

_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Slice", "Gather", "Concat", "Expand", "Identity")
_SHIFTS = ("Add", "Sub", "Mul", "Div")
"""Operators that pass on what they read: as it is, or beside something stored that may be a bias."""


def measure_losses(model: ir.Model, inputs: Inputs) -> dict[str, float]:
    """The loss of every float value that a canonical graph computes, by its name.

    0.002 to 0.004 is what bf16 costs wherever it is used; 1 says that nothing of the text is left. What the graph gives
    out counts as read. Where an operator only passes a value on, that counts as read by whoever reads its output. 0
    stands for a value from which the same is computed for every token. `model` is not changed; it runs once, on
    batches without padding, and only sums leave it.
    """
    copy = model.clone()
    edges = list(_double(copy.graph))
    session = _open(copy)
    names = [f"{edge.name}.{what}" for edge in edges for what in _MEASURED]
    known = [item.name for item in session.get_inputs()]
    sums = [_Sums() for _ in edges]
    for batch in inputs:
        values = iter(session.run(names, {name: batch[name] for name in known}))
        for one in sums:
            one.add(*(next(values) for _ in _MEASURED))
    return _gather(edges, [one.share() for one in sums])


@dataclass(frozen=True)
class _Edge:
    """Something that is measured: what rounding `value` does to `output`, under the name `name` in the graph.

    The output of an operator that reads the value, or the value itself; `passes` says that the operator only passes it
    on, `leaves` that the value leaves the graph as it is.
    """

    name: str
    value: str
    output: str
    passes: bool = False
    leaves: bool = False


def _gather(edges: list[_Edge], shares: list[float]) -> dict[str, float]:
    """The loss of each value, from the last to the first: those of what it is passed on as are known by then."""
    own = {edge.value: share for edge, share in zip(edges, shares, strict=True) if edge.output == edge.value}
    losses: dict[str, float] = {}
    for edge, share in reversed(list(zip(edges, shares, strict=True))):
        found = share if edge.output != edge.value or edge.leaves else 0.0
        if edge.passes and own.get(edge.output):
            # Rounding the output does own[…] to it, and so much to whoever reads it; this does `share` to it.
            found = max(found, share / own[edge.output] * losses.get(edge.output, 0.0))
        losses[edge.value] = max(losses.get(edge.value, 0.0), found)
    return dict(reversed(losses.items()))


@dataclass
class _Sums:
    """Sums over all tokens so far, of one tensor and of how far it moves."""

    count: int = 0
    mean: NDArray[Any] = field(default_factory=lambda: np.zeros(1))
    squares: float = 0.0
    errors: float = 0.0

    def add(self, shape: NDArray[Any], mean: NDArray[Any], squares: NDArray[Any], errors: NDArray[Any]) -> None:
        """Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979."""
        rows, apart = int(shape[0]), mean.astype(np.float64) - self.mean
        total = self.count + rows
        self.squares += float(squares) + float(np.square(apart).sum()) * self.count * rows / total
        self.mean = self.mean + apart * rows / total
        self.errors += float(errors)
        self.count = total

    def share(self) -> float:
        if self.squares <= _STILL**2 * float(np.square(self.mean).sum()) * self.count:
            return 0.0
        return float(np.sqrt(self.errors / self.squares))


def _double(graph: ir.Graph) -> Iterator[_Edge]:
    """Put a double beside every operator for each value that it reads, rounded, and let sums of both leave the graph.

    The edges come in the order in which the graph runs: a value's own before those of its readers.
    """
    nodes, outputs = list(graph), set(graph.outputs)
    rounded: dict[ir.Value, ir.Value] = {}
    for node in nodes:
        for value in dict.fromkeys(value for value in node.inputs if value is not None and _is_computed(value)):
            yield from _double_node(graph, node, value, rounded[value])
        for value in node.outputs:
            if value.dtype == _FLOAT:
                rounded[value] = _round(graph, value)
                name, leaves = str(value.name), value in outputs
                yield _Edge(_add_sums(graph, value, rounded[value], f"{name}.rounded"), name, name, leaves=leaves)


def _double_node(graph: ir.Graph, node: ir.Node, value: ir.Value, rounded: ir.Value) -> Iterator[_Edge]:
    if all(output.dtype != _FLOAT for output in node.outputs):
        return
    inputs = [rounded if one is value else one for one in node.inputs]
    double = ir.Node("", node.op_type, inputs, attributes=list(node.attributes.values()), num_outputs=len(node.outputs))
    graph.append(double)
    stored = all(one is None or one is value or one.is_initializer() for one in node.inputs)
    passes = node.op_type in _MOVES or (node.op_type in _SHIFTS and stored)
    for output, moved in zip(node.outputs, double.outputs, strict=True):
        name = _add_sums(graph, output, moved, f"{value.name}.in.{output.name}")
        yield _Edge(name, str(value.name), str(output.name), passes)


def _is_computed(value: ir.Value) -> bool:
    return value.dtype == _FLOAT and value.producer() is not None


def _round(graph: ir.Graph, value: ir.Value) -> ir.Value:
    down = ir.node("Cast", [value], {"to": int(ir.DataType.BFLOAT16)})
    up = ir.node("Cast", [down.outputs[0]], {"to": int(_FLOAT)})
    graph.extend([down, up])
    return up.outputs[0]


def _add_sums(graph: ir.Graph, value: ir.Value, moved: ir.Value, name: str) -> str:
    """Let the four numbers of _MEASURED leave the graph, as `name`.rows and so on; the name."""
    width = value.shape[-1] if value.shape is not None and len(value.shape) else 1
    shape = ir.node("Constant", [], {"value_ints": [-1, width if isinstance(width, int) else 1]})
    first = ir.node("Constant", [], {"value_ints": [0]})
    flat = ir.node("Reshape", [value, shape.outputs[0]])
    rows = ir.node("Shape", [flat.outputs[0]])
    mean = ir.node("ReduceMean", [flat.outputs[0], first.outputs[0]], {"keepdims": 0})
    centred = ir.node("Sub", [flat.outputs[0], mean.outputs[0]])
    squares = ir.node("ReduceSumSquare", [centred.outputs[0]], {"keepdims": 0})
    apart = ir.node("Sub", [moved, value])
    errors = ir.node("ReduceSumSquare", [apart.outputs[0]], {"keepdims": 0})
    graph.extend([shape, first, flat, rows, mean, centred, squares, apart, errors])
    for what, node in zip(_MEASURED, (rows, mean, squares, errors), strict=True):
        output = node.outputs[0]
        output.name, output.dtype = f"{name}.{what}", ir.DataType.INT64 if node is rows else _FLOAT
        output.shape = ir.Shape([2 if node is rows else None] if node in (rows, mean) else [])
        graph.outputs.append(output)
    return name


def _open(model: ir.Model) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = allowed_cores()
    options.log_severity_level = 3
    # A cast there and back is what is measured; no optimiser is to find that it changes little.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = ir.to_proto(model).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
