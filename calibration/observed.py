"""The graph that a calibration runs: a canonical graph which also gives out what has to be seen.

Whole tensors leave it where a histogram is wanted; of every other float tensor only the extremes do, which the graph
itself computes, so that nothing large is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from ..runtime.errors import CalibrationError
from .sites import find_linears

__all__ = ["Observed", "observe"]

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)

_QKV = 3
"""The first inputs of Attention: Q, K and V."""


@dataclass(frozen=True)
class Observed:
    """What an observed graph gives out, by the names of canonical tensors.

    `whole` are given out as they are; `extremes` maps each other float tensor to the outputs that hold its least and
    its largest value; `inputs` are those of linear layers, whose channels are told apart.
    """

    whole: tuple[str, ...]
    extremes: dict[str, tuple[str, str]]
    inputs: frozenset[str]

    @property
    def outputs(self) -> tuple[str, ...]:
        return (*self.whole, *(name for pair in self.extremes.values() for name in pair))


def observe(model: ir.Model) -> Observed:
    """Add to the outputs of `model`, in place, what a calibration has to see.

    Whole: the inputs of linear layers and the outputs of those with a bias, Q, K, V and the output of every Attention,
    and the outputs of every Gelu. Raises CalibrationError when there is no linear layer.
    """
    linears = find_linears(model.graph)
    if not linears:
        raise CalibrationError("The graph has no linear layer with a stored weight.", "Give a canonical graph.")
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    wanted = dict.fromkeys(linear.input for linear in linears)
    wanted |= dict.fromkeys(linear.output for linear in linears if linear.bias is not None)
    wanted |= dict.fromkeys(_activations(model.graph))
    # An input of a linear layer could be one of the graph's own inputs; those are known without a run.
    whole = tuple(name for name in values if name in wanted)
    given = {str(value.name) for value in model.graph.outputs}
    model.graph.outputs.extend(values[name] for name in whole if name not in given)
    others = [value for name, value in values.items() if name not in wanted and value.dtype in _FLOATS]
    extremes = {str(value.name): _add_extremes(model.graph, value) for value in others}
    return Observed(whole, extremes, frozenset(linear.input for linear in linears))


def _activations(graph: ir.Graph) -> Iterator[str]:
    for node in graph:
        if node.op_type == "Attention":
            yield from (str(value.name) for value in node.inputs[:_QKV] if value is not None)
        if node.op_type in ("Attention", "Gelu"):
            yield str(node.outputs[0].name)


def _add_extremes(graph: ir.Graph, value: ir.Value) -> tuple[str, str]:
    """Two scalar outputs: the least and the largest of `value`."""
    names = []
    for op_type in ("ReduceMin", "ReduceMax"):
        node = ir.node(op_type, [value], {"keepdims": 0}, name=f"{value.name}.{op_type}")
        (output,) = node.outputs
        output.name = f"{value.name}.{op_type}"
        output.type, output.shape = value.type, ir.Shape([])
        graph.append(node)
        graph.outputs.append(output)
        names.append(output.name)
    return names[0], names[1]
