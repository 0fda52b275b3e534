"""Every node says which layer it came from."""

from __future__ import annotations

import ast
import re
from collections import Counter

import onnx_ir as ir

from ...runtime.manifest import PassLog

__all__ = ["name_layers"]

SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch.onnx writes the path of modules that a node came from."""

_NUMBERED = re.compile(r"^(?P<layer>.*\.\d+)(?:\.(?P<rest>.*))?$")


def name_layers(model: ir.Model) -> PassLog:
    """A node is called `layer.3.attention.self.query.MatMul`, its outputs likewise; others by their module's path.

    A node of the model itself is called by its operator alone, and one that comes before the model `inputs.Expand`.
    Layers count in the order in which they run, so the third use of ALBERT's one layer is `layer.2`.
    """
    if not any(SCOPES in node.metadata_props for node in model.graph):
        return PassLog("name_layers", 0, {"no node says which module it came from": 1})
    layers = _Layers(_layer_modules(model.graph))
    used: Counter[str] = Counter()
    path = ""
    for node in model.graph:
        # What a pass or the exporter added without saying where belongs to whatever runs before it.
        found = _path(node)
        path = path if found is None else found
        name = f"{layers.place(path)}.{node.op_type}".lstrip(".")
        used[name] += 1
        node.name = name if used[name] == 1 else f"{name}_{used[name] - 1}"
        for index, output in enumerate(node.outputs):
            if not output.is_graph_output():
                output.name = f"{node.name}:{index}" if index else node.name
        # The name has taken up what was worth keeping; the rest is stack traces of the machine that exported.
        node.metadata_props.clear()
        node.doc_string = None
        for output in node.outputs:
            output.metadata_props.clear()
    _name_constants(model.graph)
    return PassLog("name_layers", sum(used.values()))


class _Layers:
    """Tells which layer a module path belongs to while the nodes go by in the order in which they run."""

    def __init__(self, modules: frozenset[str]) -> None:
        self.modules = modules
        self.index = -1
        self.layer = self.first = self.child = ""

    def place(self, path: str) -> str:
        match = _NUMBERED.match(path)
        while match and match["layer"] not in self.modules:
            match = _NUMBERED.match(match["layer"].rpartition(".")[0])
        if match is None:
            return path
        layer = match["layer"]
        rest = path[len(layer) + 1 :]
        child = rest.partition(".")[0]
        # A layer that is used again starts again with the child that it started with.
        if layer != self.layer or (child and child == self.first != self.child):
            self.index += 1
            self.layer, self.first = layer, child
        self.child = child or self.child
        return f"layer.{self.index}.{rest}".rstrip(".")


def _layer_modules(graph: ir.Graph) -> frozenset[str]:
    """The paths of the modules that hold an Attention: its longest path that ends in a number."""
    matches = (_NUMBERED.match(_path(node) or "") for node in graph if node.op_type == "Attention")
    return frozenset(match["layer"] for match in matches if match)


def _path(node: ir.Node) -> str | None:
    """The module that a node came from, without the wrapper's name; "inputs" for the wrapper's own, None if unknown."""
    scopes = node.metadata_props.get(SCOPES)
    if not scopes:
        return None
    # The model is "model" to the wrapper, which is "", and the exporter's own bookkeeping starts with an underscore.
    modules = [scope for scope in ast.literal_eval(scopes)[:-1] if scope and not scope.startswith("_")]
    return modules[-1].removeprefix("model").lstrip(".") if modules else "inputs"


def _name_constants(graph: ir.Graph) -> None:
    """Small constants are called after the value that reads them first; weights keep the checkpoint's names."""
    for value in list(graph.initializers.values()):
        if value.const_value is None or value.const_value.size > 16 or not str(value.name).startswith("val_"):
            continue
        uses = list(value.uses())
        if uses:
            value.name = f"{uses[0].node.name}.in{uses[0].idx}"
