"""Golden values: what PyTorch said to a few inputs, sampled so that any machine can check a bundle without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .differences import NOTHING_AGREES, Differences, measure, scale_of
from .parity import ParityReport, ParityRow, Tolerance, make_row

__all__ = ["GoldenCase", "GoldenOutput", "check_golden", "read_golden", "sample_case", "write_golden"]

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class GoldenOutput:
    """A sample of one output of `shape`.

    `at` (int64, ascending) are flat positions and `reference` (float32) PyTorch's values there; `scale` is that of the
    whole output. `rows` (int64) are rows along the last axis, counted flat, and `argmax` (int64) the position of
    the largest entry in each: samples alone would not show a decision that changed.
    """

    shape: tuple[int, ...]
    at: NDArray[np.int64]
    reference: NDArray[np.float32]
    scale: float
    rows: NDArray[np.int64]
    argmax: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """One batch: its inputs (int64, batch x length), a sample of every output, and what each variant gave at export.

    `found` holds, per variant key ("fp32/cpu") and output, float32 values at the same positions `at`.
    """

    name: str
    inputs: Mapping[str, NDArray[np.int64]]
    outputs: Mapping[str, GoldenOutput]
    found: Mapping[str, Mapping[str, NDArray[np.float32]]] = field(default_factory=dict)

    def with_found(self, variant: str, outputs: Arrays) -> GoldenCase:
        """This case with the full `outputs` that `variant` gave to its inputs, sampled."""
        values = {
            name: outputs[name].reshape(-1)[golden.at].astype(np.float32) for name, golden in self.outputs.items()
        }
        return replace(self, found={**self.found, variant: values})


def sample_case(
    name: str,
    inputs: Arrays,
    outputs: Arrays,
    scales: Mapping[str, float] | None = None,
    *,
    seed: int = 0,
    values: int = 4096,
    rows: int = 256,
) -> GoldenCase:
    """A case made from PyTorch's full outputs: `values` positions of each, and the argmax of `rows` rows.

    `scales` are the outputs' typical ones, for those of few values (see parity.compare).

    One position is drawn from every equal stretch of an output, so that no batch row or token goes unseen while
    there are fewer of them than values.
    """
    random = np.random.default_rng(seed)
    typical = scales or {}
    sampled = {key: _sample(random, output, values, rows, typical.get(key, 0.0)) for key, output in outputs.items()}
    return GoldenCase(name, {key: array.astype(np.int64) for key, array in inputs.items()}, sampled)


def write_golden(path: Any, cases: Sequence[GoldenCase], limit_bytes: int = 2_000_000) -> None:
    """Write `cases` to the safetensors file `path`, thinning all samples evenly until it fits `limit_bytes`.

    Raises BundleError when even the smallest samples do not fit, because the inputs alone are too large.
    """
    from .golden_file import write

    write(path, cases, limit_bytes)


def read_golden(path: Any) -> tuple[GoldenCase, ...]:
    """The cases in the file `path`, which may come from anywhere. Raises BundleError when it is damaged."""
    from .golden_file import read

    return read(path)


def check_golden(
    run: Callable[[Arrays], Arrays],
    cases: Sequence[GoldenCase],
    tolerance: Tolerance,
    variant: str,
    engine: str,
    machine: Mapping[str, str],
    own: Tolerance | None = None,
) -> ParityReport:
    """Run every case's inputs through `run` (name -> array, both ways) and compare with PyTorch's sampled values.

    Where a case holds what `variant` itself gave at export, that is compared as well, under `own` (None: the same
    tolerance): a difference there alone says that this machine computes the same graph otherwise, or another graph.
    `argmax` is the share of sampled rows whose largest entry is PyTorch's, or within twice the allowed difference of
    it.
    """
    rows: list[ParityRow] = []
    for case in cases:
        outputs = run(case.inputs)
        for name in case.outputs:
            rows.extend(_check_output(case, name, outputs.get(name), tolerance, own or tolerance, variant))
    return ParityReport(variant, engine, tuple(rows), machine)


def _sample(random: np.random.Generator, output: NDArray[Any], values: int, rows: int, typical: float) -> GoldenOutput:
    at = _stratified(random, output.size, values)
    width = output.shape[-1] if output.ndim else 1
    flat = output.reshape(-1, width)
    chosen = _stratified(random, len(flat) if width > 1 else 0, rows)
    return GoldenOutput(
        shape=tuple(output.shape),
        at=at,
        reference=output.reshape(-1)[at].astype(np.float32),
        scale=scale_of(output, typical),
        rows=chosen,
        argmax=flat[chosen].argmax(axis=1).astype(np.int64),
    )


def _stratified(random: np.random.Generator, size: int, count: int) -> NDArray[np.int64]:
    """At most `count` distinct ascending positions below `size`, one from each of `count` equal stretches."""
    if size <= count:
        return np.arange(size, dtype=np.int64)
    edges = np.arange(count + 1, dtype=np.int64) * size // count
    positions: NDArray[np.int64] = random.integers(edges[:-1], edges[1:])
    return positions


def _check_output(
    case: GoldenCase, name: str, output: NDArray[Any] | None, tolerance: Tolerance, own: Tolerance, variant: str
) -> list[ParityRow]:
    golden = case.outputs[name]
    shape = next(iter(case.inputs.values())).shape if case.inputs else ()
    size = (shape[0], shape[1]) if len(shape) == 2 else (0, 0)
    note = ""
    if output is None:
        note = "the graph did not give it"
    elif tuple(output.shape) != golden.shape:
        note = f"its shape is {list(output.shape)}, not {list(golden.shape)}"
    elif not len(golden.at):
        note = "it has no values"
    if note or output is None:
        return [make_row(case.name, name, size, golden.scale, NOTHING_AGREES, tolerance, note=note)]
    values = output.reshape(-1)[golden.at].astype(np.float32)
    differences = replace(
        measure(golden.reference, values, golden.scale),
        argmax=_share_agreeing(golden, output, tie=2 * tolerance.max_abs * golden.scale),
    )
    rows = [make_row(case.name, name, size, golden.scale, differences, tolerance)]
    before = case.found.get(variant, {}).get(name)
    if before is not None:
        again: Differences = measure(before, values, golden.scale)
        rows.append(make_row(case.name, name, size, golden.scale, again, own, against="export"))
    return rows


def _share_agreeing(golden: GoldenOutput, output: NDArray[Any], tie: float) -> float:
    if not len(golden.rows):
        return 1.0
    rows = output.reshape(-1, golden.shape[-1])[golden.rows].astype(np.float64)
    expected = rows[np.arange(len(rows)), golden.argmax]
    with np.errstate(invalid="ignore"):
        return float(np.mean((rows.argmax(axis=1) == golden.argmax) | (rows.max(axis=1) - expected <= tie)))
