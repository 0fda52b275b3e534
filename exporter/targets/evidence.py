"""Which operators a type of 16 bits cannot hold, and the numbers that say so.

A value that texts took to `HEADROOM` times less than the type's largest number, or beyond, is computed and read in
float32. What a text cannot change, such as a weight, needs no headroom. In bf16, where range is no danger, the
same holds of a value whose rounding moves what is computed from it by more than `LOSS`. What no calibration looked at
is counted as unobserved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...calibration.ranges import Ranges
from .half import BF16, FLOAT, HalfType, has_floats

__all__ = ["HEADROOM", "LOSS", "Evidence", "Kept", "Lost", "find_kept"]

HEADROOM = 4.0
"""How many times larger than on the calibration texts a value may become on others before it overflows."""

LOSS = 2.0**-5
"""What rounding a value to bf16 may cost (calibration/digits.py): three of the eight digits. No value of MiniLM and of
the zoo's checkpoints costs more than 0.0054."""

RELATIVE_LOSS = 2.0**-7
"""The error of a weight from which on its products stay float32: bf16 rounds every number by up to 2^-8."""

_ADDS_UP = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "CumSum")
"""Operators that add many numbers up in the type of their input: the sum can overflow where the mean does not."""

_LAYER = re.compile(r"layer\.\d+(?=\.)")


@dataclass(frozen=True)
class Kept:
    """An operator that stays float32.

    `peak` is the largest absolute value that it writes or reads, and `share` that value as a share of the largest
    number of the type; 1.53 is half as much again as fits. `loss` is what rounding that value costs, where that is why.
    """

    node: str
    operator: str
    layer: str
    peak: float
    share: float
    reason: str
    loss: float = 0.0


@dataclass(frozen=True)
class Lost:
    """A weight with numbers too small for the type: `vanished` of its `size` become 0, `rounded` lose digits.

    `error` is the root mean square of what is lost, as a share of that of the weight.
    """

    weight: str
    size: int
    vanished: int
    rounded: int
    error: float


@dataclass(frozen=True)
class Evidence:
    """What one conversion kept and lost.

    `operators` were looked at; `unobserved` are those whose values nobody saw. `largest` is the largest absolute value
    that was seen, and the operator that wrote it; `share` that value as a share of the type's largest number. `worst`
    is the largest loss to rounding and its operator, None where that is not looked at.
    """

    kind: str
    kept: tuple[Kept, ...]
    lost: tuple[Lost, ...]
    operators: int
    unobserved: tuple[str, ...] = ()
    largest: tuple[float, str] | None = None
    share: float = 0.0
    worst: tuple[float, str] | None = None

    def reasons(self) -> dict[str, str]:
        """Operator -> reason, as a manifest's variant has them."""
        return {kept.node: kept.reason for kept in self.kept}

    def to_dict(self) -> dict[str, Any]:
        """What a manifest's variant says of it (docs/bundle.md)."""
        found: dict[str, Any] = {
            "type": self.kind,
            "operators": self.operators,
            "unobserved": len(self.unobserved),
            "kept": len(self.kept),
        }
        if self.largest is not None:
            found |= {"largest": self.largest[0], "largest_at": self.largest[1], "share": self.share}
        if self.worst is not None:
            found |= {"loss": self.worst[0], "loss_at": self.worst[1], "loss_allowed": LOSS}
        return found


@dataclass(frozen=True)
class _Fault:
    """Something that does not fit: how large it is, in words and as a number. The strongest of a node is reported."""

    peak: float
    reason: str
    loss: float = 0.0


@dataclass
class _Faults:
    kind: HalfType
    found: dict[ir.Node, _Fault] = field(default_factory=dict)

    def add(self, node: ir.Node, peak: float, reason: str) -> None:
        if node not in self.found or peak > self.found[node].peak:
            self.found[node] = _Fault(peak, reason)

    def add_loss(self, node: ir.Node, peak: float, loss: float, reason: str) -> None:
        if node not in self.found or loss > self.found[node].loss:
            self.found[node] = _Fault(peak, reason, loss)


def find_kept(graph: ir.Graph, kind: HalfType, ranges: Ranges | None) -> Evidence:
    """What of a canonical graph has to stay float32 in `kind`, and why. Nothing is changed.

    `ranges` are what calibration saw of every float value; without them only the weights are looked at. For a
    quantised form too the canonical graph is asked: what a Q node takes in, its linear layer reads.
    """
    faults = _Faults(kind)
    nodes = [node for node in graph if has_floats(node)]
    peaks = {} if ranges is None else ranges.peaks
    lost = tuple(_look_at_weights(graph, faults))
    for node in nodes:
        _look_at_values(node, peaks, faults)
        _look_inside(node, peaks, faults)
    losses = ranges.losses if ranges is not None and kind == BF16 else {}
    for node in nodes:
        _look_at_digits(node, losses, peaks, faults)
    kept = tuple(_report(node, faults.found[node], kind) for node in nodes if node in faults.found)
    unobserved = tuple(
        str(node.name) for node in nodes if any(out.dtype == FLOAT and out.name not in peaks for out in node.outputs)
    )
    written = {str(out.name): str(node.name) for node in nodes for out in node.outputs if out.dtype == FLOAT}
    largest = max(((peaks[name], node) for name, node in written.items() if name in peaks), default=None)
    worst = max(((losses[name], node) for name, node in written.items() if name in losses), default=None)
    share = largest[0] / kind.largest if largest else 0.0
    return Evidence(kind.name, kept, lost, len(nodes), unobserved, largest, share, worst)


def _look_at_values(node: ir.Node, peaks: Mapping[str, float], faults: _Faults) -> None:
    """Whoever writes a value that is too large stays float32, and so does whoever reads it as a float."""
    for output in node.outputs:
        peak = peaks.get(str(output.name), 0.0)
        if not peak * HEADROOM > faults.kind.largest:
            continue
        share = f"{peak:.3g} on the calibration texts, {_share(peak, faults.kind)}"
        faults.add(node, peak, f"its output reaches {share}")
        for use in output.uses():
            if has_floats(use.node):
                faults.add(use.node, peak, f"it reads {output.name}, which reaches {share}")


def _look_inside(node: ir.Node, peaks: Mapping[str, float], faults: _Faults) -> None:
    """What an operator computes on its way to its output."""
    if node.op_type in _ADDS_UP:
        source = node.inputs[0]
        peak = peaks.get(str(source.name), 0.0) if source is not None else 0.0
        faults.add(node, peak, f"it adds many numbers up in {faults.kind.name}, where the sum can overflow")
    elif node.op_type == "Attention":
        scores = _scores(node, peaks)
        if scores is not None and scores > faults.kind.largest:
            faults.add(node, scores, f"its scores can reach {scores:.3g}, {_share(scores, faults.kind)}")


def _look_at_digits(node: ir.Node, losses: Mapping[str, float], peaks: Mapping[str, float], faults: _Faults) -> None:
    """A value whose rounding costs too much is not rounded: whoever writes it and whoever reads it stays float32."""
    for output in node.outputs:
        loss, peak = losses.get(str(output.name), 0.0), peaks.get(str(output.name), 0.0)
        if loss <= LOSS:
            continue
        share = f"{loss:.0%} of what texts change there; {LOSS:.0%} may be lost"
        faults.add_loss(node, peak, loss, f"rounding its output to {faults.kind.name} costs whoever reads it {share}")
        for use in output.uses():
            if has_floats(use.node):
                reason = f"it reads {output.name}, whose rounding to {faults.kind.name} costs {share}"
                faults.add_loss(use.node, peak, loss, reason)


def _scores(node: ir.Node, peaks: Mapping[str, float]) -> float | None:
    """The largest score there can be: width of a head x largest query x largest key x scale. No text reaches it."""
    query, key = node.inputs[:2]
    if query is None or key is None or query.shape is None or not {query.name, key.name} <= peaks.keys():
        return None
    width = query.shape[-1]
    if not isinstance(width, int):
        return None
    if len(query.shape) == 3:
        width //= node.attributes.get_int("q_num_heads", 1)
    scale = node.attributes.get_float("scale", width**-0.5)
    return width * peaks[str(query.name)] * peaks[str(key.name)] * scale


def _look_at_weights(graph: ir.Graph, faults: _Faults) -> Iterator[Lost]:
    for value in graph.initializers.values():
        tensor = value.const_value
        if value.dtype != FLOAT or tensor is None or not tensor.size:
            continue
        numbers = tensor.numpy()
        size = np.abs(numbers)
        peak = float(size.max())
        readers = [use for use in value.uses() if has_floats(use.node)]
        if peak > faults.kind.largest:
            for use in readers:
                faults.add(use.node, peak, f"{value.name} reaches {peak:.3g}, {_share(peak, faults.kind)}")
            continue
        small = (size < faults.kind.smallest_normal) & (size > 0)
        if not small.any():
            continue
        lost = _measure_loss(str(value.name), numbers, small, faults.kind)
        yield lost
        if lost.error > RELATIVE_LOSS:
            for use in readers:
                if not _is_added(*use):
                    least = f"{faults.kind.name} is exact from {faults.kind.smallest_normal:.2g} on"
                    faults.add(use.node, peak, f"{value.name} would lose {lost.error:.0%} of itself: {least}")


def _measure_loss(name: str, numbers: NDArray[Any], small: NDArray[Any], kind: HalfType) -> Lost:
    there = numbers.astype(kind.dtype.numpy()).astype(np.float32)
    wrong = there != numbers
    error = float(np.linalg.norm(there - numbers) / np.linalg.norm(numbers))
    vanished = int((small & (there == 0)).sum())
    return Lost(name, int(numbers.size), vanished, int((small & wrong).sum()) - vanished, error)


def _is_added(node: ir.Node, index: int) -> bool:
    """A bias that vanishes beside what it is added to changes nothing; a factor that vanishes changes everything."""
    return node.op_type == "Add" or (index == 2 and node.op_type in ("Gemm", "LayerNormalization"))


def _share(peak: float, kind: HalfType) -> str:
    return f"{peak / kind.largest:.0%} of what {kind.name} holds"


def _report(node: ir.Node, fault: _Fault, kind: HalfType) -> Kept:
    name = str(node.name)
    match = _LAYER.match(name)
    layer = match[0] if match else name.rpartition(".")[0] or "the graph"
    return Kept(name, node.op_type, layer, fault.peak, fault.peak / kind.largest, fault.reason, fault.loss)
