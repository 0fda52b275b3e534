"""Where two computations part: the first operator of an ONNX file whose values differ, by name."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from ..runtime.engines import Engine, open_engine
from ..runtime.errors import UnsupportedModel
from ..runtime.external_data import external_locations
from ..runtime.machine import allowed_cores
from ..runtime.manifest import Variant
from ..runtime.parity import ParityRow, Tolerance, compare

__all__ = ["Divergence", "ModuleCall", "first_divergence"]

_AT_ONCE = 48
"""Operators whose values are fetched in one run: those of a large model would not fit into memory together."""

_FLOATS = (None, ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)

_LAYER = re.compile(r"layer\.\d+(?=\.)")

Arrays = Mapping[str, NDArray[Any]]

Fetch = Callable[[Sequence[str]], tuple[Arrays, Arrays]]
"""What was expected of the values with these names, and what was found."""


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """What one module of a PyTorch model gave when it was called.

    `place` is the module's path; inside a layer it is `layer.<number of layers that ran before>.<path in the layer>`,
    as node names have it. `bias` is what a linear module added last.
    """

    place: str
    value: NDArray[Any]
    bias: NDArray[Any] | None = None


@dataclass(frozen=True)
class Divergence:
    """The first operator whose values differ. The differences are fractions of `scale`.

    `suspects` are the operators, in the order in which they run, between the last values that agreed and this one,
    itself included: one of them is wrong. `before` and `after` are its neighbours in the graph.
    """

    node: str
    operator: str
    layer: str
    max_abs: float
    mean_abs: float
    scale: float
    suspects: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def summary(self) -> str:
        others = [name for name in self.suspects if name != self.node]
        between = f" What leads to it could not be compared: {', '.join(others)}." if others else ""
        return (
            f"The first operator that differs is {self.node} ({self.operator}) in {self.layer}: largest difference "
            f"{self.max_abs:.1e} of its scale, mean {self.mean_abs:.1e}.{between}"
        )


def first_divergence(
    graph_path: Path, reference: Sequence[ModuleCall] | Path, feeds: Arrays, tolerance: Tolerance
) -> Divergence | None:
    """The first operator of an ONNX file, in the order in which they run, whose values differ by more than `tolerance`.

    `reference` is what PyTorch's modules gave for `feeds` (see parity.record_modules), or another ONNX file whose
    operators have the same names. Operators that both sides have are compared, with the engine's own optimisations
    switched off; None when all of them agree.

    Raises UnsupportedModel when there is nothing that both sides have.
    """
    model = ir.load(graph_path)
    with contextlib.ExitStack() as open_files:
        if isinstance(reference, Path):
            other = ir.load(reference)
            names = _common_values(model.graph, other.graph)
            theirs = open_files.enter_context(_exposed(other, reference, names.values()))
            ours = open_files.enter_context(_exposed(model, graph_path, names))

            def fetch(wanted: Sequence[str]) -> tuple[Arrays, Arrays]:
                expected = theirs.run(feeds, [names[name] for name in wanted])
                return {name: expected[names[name]] for name in wanted}, ours.run(feeds, wanted)

            return _walk(model.graph, list(names), fetch, tolerance)
        expected = _module_values(model.graph, reference)
        ours = open_files.enter_context(_exposed(model, graph_path, expected))
        return _walk(model.graph, list(expected), lambda wanted: (expected, ours.run(feeds, wanted)), tolerance)


def _walk(graph: ir.Graph, names: Sequence[str], fetch: Fetch, tolerance: Tolerance) -> Divergence | None:
    """Compare the values called `names` until one differs."""
    if not names:
        raise UnsupportedModel(
            "The graph and its reference have no operator in common.", "Compare with the model it was exported from."
        )
    wanted = set(names)
    nodes = [node for node in graph if node.outputs[0].name in wanted]
    agreed: set[str] = set()
    for start in range(0, len(nodes), _AT_ONCE):
        some = nodes[start : start + _AT_ONCE]
        expected, found = fetch([str(node.outputs[0].name) for node in some])
        for node in some:
            name = str(node.outputs[0].name)
            if _squeezed(expected[name].shape) != _squeezed(found[name].shape):
                continue
            row = compare("", name, expected[name].reshape(found[name].shape), found[name], tolerance)
            if not row.passed:
                return _describe(graph, node, row, agreed)
            agreed.add(name)
    return None


def _squeezed(shape: Iterable[int]) -> tuple[int, ...]:
    """Axes of one entry do not count: PyTorch has one where positions are looked up, the graph may not."""
    return tuple(size for size in shape if size != 1)


def _describe(graph: ir.Graph, node: ir.Node, row: ParityRow, agreed: set[str]) -> Divergence:
    found, todo = {node}, [node]
    while todo:
        for producer in _producers(todo.pop()):
            if producer not in found and producer.outputs[0].name not in agreed:
                found.add(producer)
                todo.append(producer)
    users = dict.fromkeys(use.node for output in node.outputs for use in output.uses())
    return Divergence(
        node=_name(node),
        operator=node.op_type,
        layer=_layer(node),
        max_abs=row.max_abs,
        mean_abs=row.mean_abs,
        scale=row.scale,
        suspects=tuple(_name(each) for each in graph if each in found),
        before=tuple(_name(each) for each in _producers(node)),
        after=tuple(_name(each) for each in users),
    )


def _producers(node: ir.Node) -> list[ir.Node]:
    producers = (value.producer() for value in node.inputs if value is not None)
    return list(dict.fromkeys(producer for producer in producers if producer is not None))


def _name(node: ir.Node) -> str:
    return node.name or f"{node.op_type} that gives {node.outputs[0].name}"


def _layer(node: ir.Node) -> str:
    """`layer.3`, or outside the layers the module: `embeddings`, `predictions.decoder`."""
    match = _LAYER.match(node.name or "")
    return match[0] if match else (node.name or "").rpartition(".")[0] or "the graph"


def _common_values(graph: ir.Graph, other: ir.Graph) -> dict[str, str]:
    """Values of `graph` -> values of `other` that come from operators of the same name and type."""
    theirs = {(str(node.name), node.op_type): node for node in other if node.name and _is_float(node)}
    return {
        str(node.outputs[0].name): str(theirs[str(node.name), node.op_type].outputs[0].name)
        for node in graph
        if _is_float(node) and (str(node.name), node.op_type) in theirs
    }


def _is_float(node: ir.Node) -> bool:
    return len(node.outputs) == 1 and node.outputs[0].dtype in _FLOATS


def _module_values(graph: ir.Graph, calls: Iterable[ModuleCall]) -> dict[str, NDArray[Any]]:
    """Value name -> what PyTorch gave, for every module that one operator ends."""
    scopes: defaultdict[str, list[ir.Node]] = defaultdict(list)
    for node in graph:
        parts = (node.name or "").split(".")[:-1]
        for end in range(1, len(parts) + 1):
            scopes[".".join(parts[:end])].append(node)
    values: dict[str, NDArray[Any]] = {}
    for call in calls:
        ends = _ends(scopes.get(call.place, []))
        if len(ends) != 1:
            continue
        values.setdefault(str(ends[0].outputs[0].name), call.value)
        products = [node for node in _producers(ends[0]) if node.op_type == "MatMul"]
        if call.bias is not None and ends[0].op_type == "Add" and len(products) == 1:
            values.setdefault(str(products[0].outputs[0].name), call.value - call.bias)
    return values


def _ends(nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """Those of a module's operators whose values no other operator of the module reads."""
    inside = set(nodes)
    return [
        node
        for node in nodes
        if _is_float(node) and not any(use.node in inside for output in node.outputs for use in output.uses())
    ]


@contextlib.contextmanager
def _exposed(model: ir.Model, path: Path, names: Iterable[str]) -> Iterator[Engine]:
    """An engine that runs `model`, the content of the file `path`, unoptimised, with the values `names` as outputs."""
    wanted = set(names)
    for node in model.graph:
        value = node.outputs[0]
        if value.name in wanted and not value.is_graph_output():
            model.graph.outputs.append(value)
    options = {"graph_optimization_level": "ORT_DISABLE_ALL"}
    with tempfile.TemporaryDirectory(prefix="bvx-bisect-") as folder:
        graph_path = Path(folder) / "graph.onnx"
        beside = external_locations(path)
        for location in beside:
            _borrow(path.parent / location, Path(folder) / location)
        # Weights that were inside go beside: serialising them with the graph would take their size twice over.
        ir.save(model, graph_path, external_data=None if beside else "graph.onnx_data")
        engine = open_engine(
            "onnxruntime", graph_path, Variant("", "cpu", path.name, "verified", engine_options=options),
            allowed_cores(), spin=False,
        )  # fmt: skip
        try:
            yield engine
        finally:
            engine.close()


def _borrow(source: Path, target: Path) -> None:
    """Weights come along without a copy where the filesystem allows it; ONNX Runtime refuses symbolic links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
