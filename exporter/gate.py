"""What must be in a canonical graph, counted before it is published."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..runtime.errors import UnsupportedModel
from .capture import OPSET
from .families import Config, Family

__all__ = ["check_canonical", "faults"]

LEFTOVERS = ("IsNaN", "Where", "Range", "GatherND", "NonZero", "If", "Loop")
"""Operators of masks and positions as they are traced; none is left when every pass has done its work."""

OVERHEAD = 0.03
"""How much larger than its weights a graph's stored numbers may be."""


def check_canonical(model: ir.Model, family: Family, config: Config, task: str, weights: int) -> None:
    """Refuse a graph that is not canonical.

    Args:
        model: after all passes.
        config: the checkpoint's, defaults filled in.
        weights: the bytes of the distinct weights that the checkpoint's model holds.

    Raises UnsupportedModel with every fault, naming layers.
    """
    found = list(faults(model.graph, family, config, task, weights))
    if found:
        raise UnsupportedModel(
            f"The exported graph is not what {family.name} for {task} must be, and is not published: "
            f"{'; '.join(found)}.",
            "This is a shape of the family that bvx does not know: please report it with the checkpoint's config.json.",
        )


def faults(graph: ir.Graph, family: Family, config: Config, task: str, weights: int) -> Iterator[str]:
    """Every way in which the graph is not canonical, in words."""
    counts = Counter(node.op_type for node in graph)
    layers = family.layers(config)
    attentions = Counter(_layer(node) for node in graph if node.op_type == "Attention")
    if attentions != Counter(range(layers)):
        yield f"{counts['Attention']} Attention for {layers} layers{_uneven(attentions, layers, 1)}"
    norms = family.layer_norms(config, task)
    if counts["LayerNormalization"] != norms:
        per_layer = Counter(_layer(node) for node in graph if node.op_type == "LayerNormalization")
        found = [per_layer[layer] for layer in range(layers)]
        usual = max(found) if counts["LayerNormalization"] < norms else min(found)
        yield f"{counts['LayerNormalization']} LayerNormalization, wanted {norms}{_uneven(per_layer, layers, usual)}"
    for operator in LEFTOVERS:
        if counts[operator]:
            yield f"{counts[operator]} {operator} left over ({_first(graph, operator)})"
    yield from _separate_masks(graph)
    domains = dict(graph.opset_imports)
    if domains != {"": OPSET}:
        yield f"operator sets {domains}, wanted the standard one, {OPSET}, alone"
    foreign = [f"{node.name} of {node.domain}" for node in graph if node.domain]
    if foreign:
        yield f"{len(foreign)} operators that are not standard ONNX ({foreign[0]})"
    yield from _repeated_weights(graph)
    stored = sum(tensor.nbytes for _, tensor in _stored(graph))
    if stored > weights * (1 + OVERHEAD) + 4096:
        yield f"{stored} bytes of stored numbers for {weights} bytes of weights"


def _layer(node: ir.Node) -> int:
    match = re.match(r"layer\.(\d+)\.", str(node.name))
    return int(match[1]) if match else -1


def _first(graph: ir.Graph, operator: str) -> str:
    return next(str(node.name) for node in graph if node.op_type == operator)


def _uneven(counts: Mapping[int, int], layers: int, wanted: int) -> str:
    """Which layers have another count than `wanted`; what lies in none (-1) is named where no layer stands out."""
    odd = [f"{counts.get(layer, 0)} in layer {layer}" for layer in range(layers) if counts.get(layer, 0) != wanted]
    outside = counts.get(-1, 0)
    return f" ({', '.join(odd or [f'{wanted} in each layer, {outside} outside of them'])})"


def _separate_masks(graph: ir.Graph) -> Iterator[str]:
    """Attentions that do not read the one mask that the others read."""
    masks = {node: node.inputs[3] if len(node.inputs) > 3 else None for node in graph if node.op_type == "Attention"}
    usual = Counter(mask for mask in masks.values() if mask is not None).most_common(1)
    for node, mask in masks.items():
        if mask is None:
            yield f"{node.name} has no mask"
        elif mask is not usual[0][0]:
            yield f"{node.name} has a mask of its own"


def _stored(graph: ir.Graph) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Every tensor that the graph stores, and its name: initializers, and what nodes hold as attributes."""
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            yield name, value.const_value
    for node in graph.all_nodes():
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.TENSOR:
                yield str(node.name), attribute.as_tensor()


def _repeated_weights(graph: ir.Graph) -> Iterator[str]:
    """Weights that are stored twice, under another name or transposed.

    Only matrices count, and not those of one repeated number, which say nothing about where they came from. Two can
    be equal, or each other's transposes, only if their shapes are: bytes are read for those alone.
    """
    shapes: dict[tuple[int, ...], list[tuple[str, ir.TensorProtocol]]] = defaultdict(list)
    for name, tensor in _stored(graph):
        if len(tensor.shape) == 2:
            shapes[tuple(sorted(tensor.shape.numpy()))].append((name, tensor))
    for tensors in shapes.values():
        seen: dict[tuple[tuple[int, ...], bytes], str] = {}
        for name, tensor in tensors if len(tensors) > 1 else ():
            array = tensor.numpy()
            if (array == array[:1, :1]).all():
                continue
            key, other = _key(array), _key(array.T)
            twin = seen.get(key) or seen.get(other)
            if twin:
                yield f"{name} is stored again as {twin}"
            seen[key] = name


def _key(array: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return array.shape, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
