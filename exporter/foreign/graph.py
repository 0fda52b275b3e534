"""An ONNX file that bvx did not make, in an engine, and how it is asked as if it were a bundle's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.engines import Engine, find_engine, open_engine
from ...runtime.errors import BundleError, CheckpointError, EngineMismatch, InputError, ParityFailed, UnsupportedModel
from ...runtime.external_data import external_locations
from ...runtime.machine import allowed_cores
from ...runtime.manifest import TensorSpec, Variant

__all__ = ["INPUTS", "ForeignGraph", "Translated", "open_graph", "widen"]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a text is made into."""

_HALVES = {ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16"}

_FEWER_BITS: Mapping[str, str] = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger"), "int8"),
    **dict.fromkeys(("QLinearMatMul", "QAttention", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"), "int8"),
    "MatMulNBits": "int4",
}
"""The operators, ONNX's and ONNX Runtime's, that compute with integers, and the precision that they make of a graph."""

_AGAIN = "Copy or download it again, or make it again with the tool that made it."

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class ForeignGraph:
    """An ONNX file in an engine. `precision` is "fp32", "fp16", "bf16", "int8" or "int4", by its weights and operators.

    `rows` and `width` are the only batch and length in tokens that it takes, None where any will do.
    """

    file: Path
    engine: Engine
    precision: str
    rows: int | None
    width: int | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(spec.name for spec in self.engine.inputs)

    @property
    def reads_mask(self) -> bool:
        return "attention_mask" in self.inputs


def open_graph(file: Path, engine: str = "auto") -> ForeignGraph:
    """Load the ONNX file, and whatever weights lie beside it, into the engine called `engine`.

    Raises BundleError when it is damaged or misses weights, EngineMismatch when it cannot run here, UnsupportedModel
    when it reads something that a text is not made into.
    """
    name, target = find_engine(engine, ["cpu"])
    try:
        missing = [place for place in external_locations(file) if not (file.parent / place).is_file()]
        if missing:
            raise BundleError(f"{file} keeps weights in {', '.join(missing)}, which does not lie beside it.")
        session = open_engine(name, file, Variant("", target, file.name, "verified"), allowed_cores(), spin=False)
    except BundleError as error:
        raise BundleError(error.cause, _AGAIN) from error
    try:
        _check_inputs(file, session.inputs)
        graph = ForeignGraph(file, session, _precision(file), _fixed(session.inputs, 0), _fixed(session.inputs, -1))
    except BaseException:
        session.close()
        raise
    return graph


def _check_inputs(file: Path, inputs: Sequence[TensorSpec]) -> None:
    strange = [spec.name for spec in inputs if spec.name not in INPUTS]
    if strange or not any(spec.name == "input_ids" for spec in inputs):
        raise UnsupportedModel(
            f"{file} reads {', '.join(spec.name for spec in inputs)}; bvx feeds {', '.join(INPUTS)}.",
            "Export it again with these inputs, under these names (torch.onnx.export's input_names).",
        )
    for spec in inputs:
        several = len(spec.shape) == 3 and isinstance(spec.shape[1], int) and spec.shape[1] > 1
        if spec.dtype not in ("int64", "int32") or len(spec.shape) not in (0, 2, 3) or several:
            shape = ", ".join(map(str, spec.shape))
            raise UnsupportedModel(
                f"{file} reads {spec.name} as {spec.dtype} of [{shape}]; bvx feeds int64 or int32 of [batch, length], "
                "or of [batch, choices, length] with any number of choices.",
                "Export it again with such inputs.",
            )


def _fixed(inputs: Sequence[TensorSpec], axis: int) -> int | None:
    sizes = [spec.shape[axis] for spec in inputs if spec.shape]
    return next((size for size in sizes if isinstance(size, int)), None)


def _precision(file: Path) -> str:
    model = ir.load(file)
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    nodes = [node for graph in graphs for node in graph.all_nodes()]
    integers = {_FEWER_BITS[node.op_type] for node in nodes if node.op_type in _FEWER_BITS}
    stored = {value.dtype for value in model.graph.initializers.values()}
    stored |= {node.outputs[0].dtype for node in nodes if node.op_type == "Constant"}
    halves = [name for dtype, name in _HALVES.items() if dtype in stored]
    return min(integers, default=halves[0] if halves else "fp32")


class Translated:
    """An engine (runtime.engines.Engine) that gives a foreign graph's outputs under transformers' names.

    `names` says what the graph calls each of them, `per_token` which have a value per token. A graph of a fixed shape
    is asked in pieces, filled with rows that are there already and with `pad_id` that is masked; what was filled in is
    cut off the answers.
    """

    def __init__(
        self, graph: ForeignGraph, names: Mapping[str, str], per_token: Collection[str] = (), pad_id: int = 0
    ) -> None:
        engine = graph.engine
        specs = {spec.name: spec for spec in engine.outputs}
        self.name, self.version, self.threads = engine.name, engine.version, engine.threads
        self.inputs = engine.inputs
        self.outputs = tuple(replace(specs[own], name=name) for name, own in names.items())
        self.graph = graph
        self.names = names
        self._per_token = per_token
        self._pad_id = pad_id

    def only(self, outputs: Iterable[str]) -> Translated:
        """The same graph without its other outputs."""
        return Translated(self.graph, {name: self.names[name] for name in outputs}, self._per_token, self._pad_id)

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """As Engine.run, for int [batch, length] of every input.

        Raises CheckpointError when ids lie outside the graph's tables, and ParityFailed for a shape that the graph does
        not take though it says so.
        """
        wanted = list(self.names if outputs is None else outputs)
        batch, length = feeds["input_ids"].shape
        rows = self.graph.rows or batch
        pieces = [self._run_piece(feeds, start, rows, length, wanted) for start in range(0, batch, rows)]
        if rows == batch:
            return pieces[0]
        return {name: np.concatenate([piece[name] for piece in pieces])[:batch] for name in wanted}

    def close(self) -> None:
        self.graph.engine.close()

    def _run_piece(
        self, feeds: Arrays, start: int, rows: int, length: int, wanted: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        width = self.graph.width or length
        piece: dict[str, NDArray[Any]] = {}
        for spec in self.graph.engine.inputs:
            given = feeds[spec.name][start : start + rows]
            given = given[np.arange(rows) % len(given)]
            filled = widen(given, width, spec.name, self._pad_id).astype(spec.dtype, copy=False)
            # A graph that chooses between texts reads them as the one choice of a question each.
            piece[spec.name] = filled[:, None] if len(spec.shape) == 3 else filled
        found = self._ask(piece, [self.names[name] for name in wanted])
        return {
            name: found[self.names[name]][:, :length] if name in self._per_token else found[self.names[name]]
            for name in wanted
        }

    def _ask(self, feeds: Arrays, names: Sequence[str]) -> Arrays:
        file = self.graph.file
        try:
            return self.graph.engine.run(feeds, names)
        except InputError as error:
            raise CheckpointError(
                f"{file} has smaller tables than the checkpoint (fewer words, positions or token types). {error.cause}",
                "Name the checkpoint that it was made from.",
            ) from error
        except EngineMismatch as error:
            raise ParityFailed(
                f"{file} does not run with shapes that it says it takes. {error.cause}",
                "It was traced for other shapes: export it again with a dynamic batch and length.",
            ) from error


def widen(array: NDArray[Any], width: int | None, name: str, pad_id: int) -> NDArray[Any]:
    """The input called `name`, int [batch, length], padded on the right to `width` tokens; as it is for None."""
    missing = (width or array.shape[1]) - array.shape[1]
    return np.pad(array, ((0, 0), (0, missing)), constant_values=pad_id if name == "input_ids" else 0)
