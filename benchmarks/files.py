"""ONNX files beside each other on ONNX Runtime: each in a process of its own, in turns, as `bvx bench` measures."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from bench_tables import show_cells
from pages import table

from bvx.exporter.bench.contenders import Contender
from bvx.exporter.bench.document import describe
from bvx.exporter.bench.measure import measure_contenders
from bvx.exporter.bench.plan import BenchPlan
from bvx.exporter.bench.words import describe_machine
from bvx.exporter.progress import Silent

__all__ = ["SHAPES", "OnnxFile", "describe_conditions", "measure_files", "show_medians"]

SHAPES = ((1, 16), (1, 128), (8, 128), (1, 384))
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class OnnxFile:
    """A file, and the optimizers of ONNX Runtime that it is loaded without."""

    path: Path
    disabled: Sequence[str] = ()


def measure_files(
    files: Mapping[str, OnnxFile], shapes: Sequence[tuple[int, int]], rounds: int, threads: int
) -> dict[str, Any]:
    """The document of `bvx bench` about `files`, by name. Ends the program where a file cannot run."""
    plan = BenchPlan(bundles=(), shapes=tuple(shapes), threads=(threads,), rounds=rounds)
    contenders = [_make_contender(name, file, threads) for name, file in files.items()]
    document = describe(measure_contenders(plan, contenders, {}, Silent()))
    for one in (*document["contenders"], *document["cells"]):
        if "skipped" in one:
            sys.exit(f"{one['contender']}: {one['skipped']}")
    return document


def show_medians(title: str, document: Mapping[str, Any]) -> Iterator[str]:
    """Markdown: a row for each file, a column for each shape; bold is the fastest, and what is no different from it."""
    asked = document["asked"]
    rows = ([name, *cells] for name, cells in show_cells(document, asked["threads"][0]).items())
    yield ""
    yield from table([title, *(f"{batch}x{length}" for batch, length in asked["shapes"])], rows)


def describe_conditions(document: Mapping[str, Any]) -> str:
    """The machine, and what ran the files."""
    threads = document["asked"]["threads"][0]
    return f"{describe_machine(document)} Milliseconds, {threads} thread(s), onnxruntime {onnxruntime.__version__}."


def _make_contender(name: str, file: OnnxFile, threads: int) -> Contender:
    request = {
        "tool": "file",
        "path": str(file.path),
        "disabled": list(file.disabled),
        "names": _INPUTS,
        "vocabulary": 1000,
        "longest": 1 << 20,
        "threads": threads,
        "work": "",
    }
    return Contender(name, "", "file", "", threads, request)
