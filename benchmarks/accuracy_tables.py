"""The tables of docs/precision.md, made of what accuracy.py measured."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pages import replace_measured

__all__ = ["write_tables"]


def write_tables(out: Path, measured: Mapping[str, Any]) -> None:
    """Write `out`.json, and put the tables between the two comments in `out`.md."""
    versions = {name: version(name) for name in ("torch", "transformers", "onnxruntime", "numpy")}
    document = {**measured, "versions": {"python": platform.python_version(), **versions}}
    out.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    replace_measured(out.with_suffix(".md"), _lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{document['conditions']} {', '.join(f'{name} {found}' for name, found in document['versions'].items())}."
    models = dict.fromkeys(row["model"] for row in document["rows"])
    for model in models:
        rows = [row for row in document["rows"] if row["model"] == model]
        yield from _model_table(model, rows)


def _model_table(model: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    judged = next(row for row in rows if "metric" in row)
    yield f"\n**{model}**, {judged['task']}: {judged['metric']} on {judged['examples']:,} examples of"
    yield f"`{judged['source']}`; fp32 {judged['before']:.4f}.\n"
    yield f"| int8 by | {judged['metric']} | difference to fp32 (95 %) | {judged['unit']} changed | size |"
    yield "|---|---|---|---|---|"
    for row in rows:
        if "failed" in row:
            yield f"| {row['tool']} | failed | | | |"
            continue
        interval = f"{row['after'] - row['before']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
        changed = f"{row['changed']:,} of {row['compared']:,} ({row['changed'] / row['compared']:.2%})"
        origin = "" if row["graph"] in row["tool"] or row["graph"] == "optimum" else f", of {row['graph']}'s graph"
        yield f"| {row['tool']}{origin} | {row['after']:.4f} | {interval} | {changed} | {row['bytes'] / 1e6:.2f} MB |"
