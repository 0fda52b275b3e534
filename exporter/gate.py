"""What must be in a canonical graph, counted before it is published."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

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
            f"The exported graph is not what {family.name} for {task} must be: {'; '.join(found)}. It is not published.",
            "This is a shape of the family that bvx does not know: please report it with the checkpoint's config.json.",
        )


def faults(graph: ir.Graph, family: Family, config: Config, task: str, weights: int) -> Iterator[str]:
    """Every way in which the graph is not canonical, in words."""
    counts = Counter(node.op_type for node in graph)
    layers = family.layers(config)
    attentions = [_layer(node) for node in graph if node.op_type == "Attention"]
    if attentions != list(range(layers)):
        missing = sorted(set(range(layers)) - set(attentions))
        where = f" (none in layer {', '.join(map(str, missing))})" if missing else ""
        yield f"{len(attentions)} Attention for {layers} layers{where}"
    norms = family.layer_norms(config, task)
    if counts["LayerNormalization"] != norms:
        yield f"{counts['LayerNormalization']} LayerNormalization, wanted {norms}{_uneven(graph, 'LayerNormalization')}"
    for operator in LEFTOVERS:
        if counts[operator]:
            yield f"{counts[operator]} {operator} left over ({_first(graph, operator)})"
    masks = {node.inputs[3] for node in graph if node.op_type == "Attention" and len(node.inputs) > 3}
    if len(masks) != 1:
        yield f"{len(masks)} masks for {layers} layers"
    domains = dict(graph.opset_imports)
    if domains != {"": OPSET}:
        yield f"operator sets {domains}, wanted the standard one, {OPSET}, alone"
    yield from _repeated_weights(graph)
    stored = sum(value.const_value.nbytes for value in graph.initializers.values() if value.const_value is not None)
    if stored > weights * (1 + OVERHEAD) + 4096:
        yield f"{stored} bytes of stored numbers for {weights} bytes of weights"


def _layer(node: ir.Node) -> int:
    match = re.match(r"layer\.(\d+)\.", str(node.name))
    return int(match[1]) if match else -1


def _first(graph: ir.Graph, operator: str) -> str:
    return next(str(node.name) for node in graph if node.op_type == operator)


def _uneven(graph: ir.Graph, operator: str) -> str:
    """Which layers have another count of `operator` than most."""
    counts = Counter(_layer(node) for node in graph if node.op_type == operator and _layer(node) >= 0)
    if not counts:
        return ""
    usual = Counter(counts.values()).most_common(1)[0][0]
    odd = [str(layer) for layer, count in sorted(counts.items()) if count != usual]
    return f" (look at layer {', '.join(odd)})" if odd else ""


def _repeated_weights(graph: ir.Graph) -> Iterator[str]:
    """Weights that are stored twice, under another name or transposed.

    Only matrices count. Two of them can be equal, or each other's transposes, only if their shapes are: bytes are
    read for those alone.
    """
    shapes: dict[tuple[int, ...], list[ir.Value]] = defaultdict(list)
    for value in graph.initializers.values():
        if value.const_value is not None and len(value.const_value.shape) == 2:
            shapes[tuple(sorted(value.const_value.shape.numpy()))].append(value)
    for values in shapes.values():
        seen: dict[bytes, str] = {}
        for value in values if len(values) > 1 else ():
            assert value.const_value is not None
            array = value.const_value.numpy()
            digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
            other = hashlib.sha256(np.ascontiguousarray(array.T).tobytes()).digest()
            name = str(value.name)
            twin = seen.get(digest) or seen.get(other)
            if twin:
                yield f"{name} is stored again as {twin}"
            seen[digest] = name
