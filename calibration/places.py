"""Where smoothing vectors can go: groups of linear layers that share one, and the places where it costs nothing.

A smoothing vector divides the channels of a linear layer's input and multiplies the rows of its weight. All linear
layers that read one tensor share the vector, and so do all uses of one weight (ALBERT's).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from .sites import Linear

__all__ = ["Group", "find_groups"]

_V = 2
"""V's place among the inputs of Attention."""


@dataclass(frozen=True)
class Group:
    """Linear layers that share one smoothing vector: `inputs` are their input tensors, `weights` their weights.

    `divided` are the initializers whose last axis can be divided by the vector instead of `inputs` themselves, and
    the graph computes the same in fp32. Empty where there is no such place, and the graph needs a Mul.
    """

    linears: tuple[Linear, ...]
    divided: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(linear.input for linear in self.linears))

    @property
    def weights(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(linear.weight for linear in self.linears))


def find_groups(graph: ir.Graph, linears: Sequence[Linear]) -> tuple[Group, ...]:
    """The groups of `linears`, in the order of their first layers.

    Exact are the attention's output projection (attention mixes tokens and no channels: V's columns take the
    vector) and a projection of a LayerNormalization (its gain and bias take it), when nothing else reads what the
    vector changes. Post-LN blocks have none of the second kind: their residual reads the LayerNormalization too.
    """
    values = {str(value.name): value for node in graph for value in node.outputs}
    sources = {name: _source(values[name], linears) for name in {one.input for one in linears} if name in values}
    groups = []
    for members in _joined(linears):
        places = [sources.get(name, ()) for name in dict.fromkeys(one.input for one in members)]
        exact = all(places) and _is_closed(graph, members, places)
        divided = tuple(dict.fromkeys(name for place in places for name in place)) if exact else ()
        groups.append(Group(members, divided))
    return tuple(groups)


def _joined(linears: Sequence[Linear]) -> Iterator[tuple[Linear, ...]]:
    """Linears connected by an input or a weight."""
    sets: list[tuple[set[tuple[str, str]], list[int]]] = []
    for number, linear in enumerate(linears):
        ends, members = {("input", linear.input), ("weight", linear.weight)}, [number]
        apart = []
        for known, others in sets:
            if known & ends:
                ends, members = ends | known, others + members
            else:
                apart.append((known, others))
        sets = [*apart, (ends, members)]
    for _, members in sorted(sets, key=lambda one: min(one[1])):
        yield tuple(linears[number] for number in sorted(members))


def _source(value: ir.Value, linears: Sequence[Linear]) -> tuple[str, ...]:
    """The initializers that scale the channels of `value`, when only linear layers read it; nothing otherwise."""
    nodes = {linear.node for linear in linears}
    if value.is_graph_output() or not all(use.node.name in nodes and use.idx == 0 for use in value.uses()):
        return ()
    producer = value.producer()
    assert producer is not None
    if producer.op_type == "LayerNormalization" and not producer.domain:
        return _names(producer.inputs[1:])
    if producer.op_type == "Attention" and not producer.domain:
        return _attention(producer, linears)
    return ()


def _attention(node: ir.Node, linears: Sequence[Linear]) -> tuple[str, ...]:
    """The weight and the bias of V, when the heads of its output are those of V in the same order."""
    heads = [node.attributes.get_int(name, 0) for name in ("q_num_heads", "kv_num_heads")]
    value = node.inputs[_V]
    if heads[0] != heads[1] or not heads[0] or value is None or len(list(value.uses())) != 1:
        return ()
    made = [linear for linear in linears if linear.output == value.name and linear.axis == 1]
    return (made[0].weight, *([made[0].bias] if made[0].bias else [])) if made else ()


def _is_closed(graph: ir.Graph, members: Iterable[Linear], places: Sequence[tuple[str, ...]]) -> bool:
    """Whether every reader of every initializer that would change is one that the vector is meant for."""
    inputs = {linear.input for linear in members}
    weights = {linear.weight for linear in members}
    divided = {name for place in places for name in place}
    if weights & divided:
        return False
    readers = {use.node.name for name in weights for use in graph.initializers[name].uses()}
    if readers - {linear.node for linear in members}:
        return False
    return all(
        _feeds(use.node.outputs[0], inputs, divided) for name in divided for use in graph.initializers[name].uses()
    )


def _feeds(value: ir.Value, inputs: set[str], divided: set[str]) -> bool:
    """Whether `value` is one of `inputs`, or reaches nothing else on its way through a bias and as V of attentions."""
    if value.name in inputs:
        return True
    uses = list(value.uses())
    if not uses or value.is_graph_output():
        return False
    return all(_passes(use.node, use.idx, divided) and _feeds(use.node.outputs[0], inputs, divided) for use in uses)


def _passes(node: ir.Node, place: int, divided: set[str]) -> bool:
    """Whether the channels of the node's input number `place` come out divided as they came in."""
    if node.op_type == "Add":
        return any(value is not None and value.name in divided for value in node.inputs)
    return node.op_type == "Attention" and place == _V


def _names(values: Iterable[ir.Value | None]) -> tuple[str, ...]:
    return tuple(str(value.name) for value in values if value is not None)
