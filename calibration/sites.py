"""Where a canonical graph can be quantised: its linear layers, its tables and its attentions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

__all__ = ["Linear", "Table", "find_linears", "find_tables"]


@dataclass(frozen=True)
class Linear:
    """`MatMul(input, weight)` or `Gemm(input, weight, bias)` with a stored weight, and the bias [out] that is added.

    `node`, `input`, `weight`, `bias` and `output` are names; `output` is that of the Add where a MatMul has a bias.
    `axis` is the axis of the stored weight that the outputs lie along: 1 for [in, out], 0 for a Gemm's [out, in].
    A weight that several nodes read (ALBERT's) makes a Linear for each of them.
    """

    node: str
    input: str
    weight: str
    bias: str | None
    output: str
    axis: int = 1


@dataclass(frozen=True)
class Table:
    """`Gather(weight, ids)` of a stored table [rows, width]: an embedding. `tied` says that something else reads it."""

    node: str
    weight: str
    output: str
    tied: bool


def find_linears(graph: ir.Graph) -> tuple[Linear, ...]:
    """Every linear layer, in the order in which they run."""
    return tuple(_linears(graph))


def find_tables(graph: ir.Graph) -> tuple[Table, ...]:
    """Every embedding table that is looked up with ids of an input or positions made from one, in order."""
    return tuple(_tables(graph))


def _linears(graph: ir.Graph) -> Iterator[Linear]:
    for node in graph:
        if node.op_type not in ("MatMul", "Gemm") or node.domain:
            continue
        source, weight = node.inputs[:2]
        if source is None or weight is None or source.is_initializer() or not _is_stored(weight, 2):
            continue
        names = (str(node.name), str(source.name), str(weight.name))
        if node.op_type == "Gemm":
            if _is_plain(node):
                bias = node.inputs[2] if len(node.inputs) > 2 else None
                axis = 1 - node.attributes.get_int("transB", 0)
                yield Linear(*names, str(bias.name) if bias is not None else None, str(node.outputs[0].name), axis)
            continue
        added = _bias(node.outputs[0])
        output = added[0].outputs[0] if added else node.outputs[0]
        yield Linear(*names, str(added[1].name) if added else None, str(output.name))


def _is_plain(gemm: ir.Node) -> bool:
    """Whether it is `input @ weight + bias`, the weight perhaps transposed, and nothing else."""
    factors = (gemm.attributes.get_float(name, 1.0) for name in ("alpha", "beta"))
    return not gemm.attributes.get_int("transA", 0) and all(factor == 1.0 for factor in factors)


def _bias(value: ir.Value) -> tuple[ir.Node, ir.Value] | None:
    """The Add of a stored vector that alone reads `value`, and the vector."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != "Add":
        return None
    others = [other for other in uses[0].node.inputs if other is not None and other is not value]
    return (uses[0].node, others[0]) if len(others) == 1 and _is_stored(others[0], 1) else None


def _tables(graph: ir.Graph) -> Iterator[Table]:
    for node in graph:
        if node.op_type != "Gather" or node.domain:
            continue
        weight = node.inputs[0]
        if weight is not None and _is_stored(weight, 2):
            readers = {use.node for use in weight.uses()}
            tied = any(reader.op_type != "Gather" for reader in readers)
            yield Table(str(node.name), str(weight.name), str(node.outputs[0].name), tied)


def _is_stored(value: ir.Value, rank: int) -> bool:
    tensor = value.const_value
    return value.is_initializer() and tensor is not None and len(tensor.shape) == rank
