"""The measured part of docs/benchmarks.md, made of the documents that `bvx bench --json` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pages import table
from targets import Judgement, find_cell, judge_all

from bvx.exporter.bench.words import describe_machine, describe_sorting, number
from bvx.exporter.layout import format_bytes
from bvx.runtime.latency import compare_turns

__all__ = ["describe_documents", "find_quality", "show_cells"]

Document = Mapping[str, Any]
Quality = Mapping[str, float]
_PRECISIONS = ("fp32", "bf16", "int8")
_VERDICTS = {"won": "won", "lost": "**lost**", "no difference": "no difference"}


def describe_documents(documents: Mapping[str, Document], quality: Quality) -> Iterator[str]:
    """The lines of the page: `documents` by the model's name; `quality`, of the first one, by contender."""
    for position, (name, document) in enumerate(documents.items()):
        yield f"\n### {name}\n"
        report = "" if position else ", and [its report](benchmarks/report.html)"
        yield f"[The whole document](benchmarks/{name}.json){report}."
        yield from _conditions(document)
        for threads in document["asked"]["threads"]:
            yield from _latencies(document, threads, quality if position == 0 else {})
        yield from _targets(document)
        yield from _processes(document)
        yield from _left_out(document)


def find_quality(precision: Document, model: str) -> dict[str, float]:
    """The metric by contender, from docs/precision.json: fp32's score is the same for every tool that runs fp32."""
    found: dict[str, float] = {}
    names = {"bvx, cpu": "bvx int8", "Optimum, dynamic": "optimum-int8", "NNCF": "openvino-nncf"}
    for row in precision["rows"]:
        if row["model"] == model and "after" in row:
            found["fp32"] = row["before"]
            if row["tool"] in names:
                found[names[row["tool"]]] = row["after"]
    return found


def _conditions(document: Document) -> Iterator[str]:
    (model,) = document["models"]
    weights = "random weights" if model["random"] else "its own weights"
    if not document["complete"]:
        yield "**Incomplete**: the measuring was interrupted.\n"
    yield f"{model['task']}, {model['parameters']:,} parameters, {weights}; bvx {document['bvx']}, {document['made']}."
    yield f"{describe_machine(document)}"


def _latencies(document: Document, threads: int, quality: Quality) -> Iterator[str]:
    """Medians with their intervals; bold is the fastest, and what is no different from it."""
    shapes = document["asked"]["shapes"]
    shown = show_cells(document, threads)
    if not any(any(cells) for cells in shown.values()):
        return
    contenders = [one for one in document["contenders"] if one["threads"] == threads and "skipped" not in one]
    rows = []
    for one in sorted(contenders, key=lambda one: (_PRECISIONS.index(one["precision"]), not one["ours"])):
        name = one["contender"]
        score = quality.get(f"bvx {one['precision']}" if one["ours"] else name)
        if one["precision"] == "fp32":
            score = quality.get("fp32")
        rows.append([name, one["precision"], *shown[name], *([f"{score:.4f}" if score else ""] if quality else [])])
    header = [f"{threads} thread{'s' * (threads != 1)}, ms", "", *(f"{batch}x{length}" for batch, length in shapes)]
    yield ""
    yield from table([*header, *(["STS-B"] if quality else [])], rows)


def show_cells(document: Document, threads: int) -> dict[str, list[str]]:
    """A cell for each shape, by contender; bold is the fastest of a shape, and what is no different from it."""
    names = dict.fromkeys(one["contender"] for one in document["contenders"])
    shown: dict[str, list[str]] = {name: [] for name in names}
    for shape in document["asked"]["shapes"]:
        column = {name: cell for name in names if (cell := find_cell(document, name, threads, *shape))}
        best = _find_fastest(column)
        for name in names:
            shown[name].append(_show_cell(column.get(name), name in best))
    return shown


def _find_fastest(column: Mapping[str, Mapping[str, Any]]) -> set[str]:
    if not column:
        return set()
    best = min(column.values(), key=lambda cell: float(cell["p50"]))
    return {
        name
        for name, cell in column.items()
        if cell is best or compare_turns(cell["turns"], best["turns"], paired=True)[1] <= 1
    }


def _show_cell(cell: Mapping[str, Any] | None, bold: bool) -> str:
    if cell is None:
        return ""
    median = f"**{number(cell['p50'])}**" if bold else number(cell["p50"])
    return f"{median} ({number(cell['low'])} to {number(cell['high'])})"


def _targets(document: Document) -> Iterator[str]:
    """Each target at each place, won, lost or no difference; and how many of each."""
    found = list(judge_all(document))
    if not found:
        return
    shapes = [tuple(shape) for shape in document["asked"]["shapes"]]
    rows: dict[tuple[int, Any], dict[tuple[int, ...], Judgement]] = {}
    for one in found:
        rows.setdefault((one.threads, one.target), {})[one.batch, one.length] = one
    yield ""
    yield from table(
        ["times as fast as", "bvx in", "threads", "wanted", *(f"{batch}x{length}" for batch, length in shapes)],
        (
            [
                target.other,
                target.precision,
                str(threads),
                f"{target.least:g}",
                *(_show_judgement(here.get(shape)) for shape in shapes),  # type: ignore[arg-type]
            ]
            for (threads, target), here in rows.items()
        ),
    )
    yield ""
    counts = {word: sum(one.beside == word for one in found) for word in ("won", "lost", "no difference")}
    reached = {word: sum(one.reached == word for one in found) for word in ("reached", "missed", "open")}
    yield (
        f"Of {len(found)} cells bvx won {counts['won']} and lost {counts['lost']}; in {counts['no difference']} there "
        f"is no difference. What was wanted is reached in {reached['reached']}, missed in {reached['missed']}, and "
        f"inside the interval in {reached['open']}."
    )
    beside = [one for one in found if one.target.other == "openvino-nncf"]
    if beside:
        ahead = sum(one.low >= 1.15 for one in beside)
        yield f"Beside openvino-nncf the whole interval is at 1.15 or above in {ahead} of {len(beside)} cells."


def _show_judgement(one: Judgement | None) -> str:
    if one is None:
        return "not measured"
    wanted = f", {one.reached}" if one.target.least != 1 else ""
    return f"{one.ratio:.2f} ({one.low:.2f} to {one.high:.2f}) {_VERDICTS[one.beside]}{wanted}"


def _processes(document: Document) -> Iterator[str]:
    """Start, memory, texts and calls at once of every contender, with the fewest threads."""
    threads = min(document["asked"]["threads"])
    shape = document["asked"]["shapes"][0]
    texts = {one["contender"]: one for one in document["texts"] if one["threads"] == threads}
    levels = sorted({one["level"] for one in document["concurrency"]})
    crowds = {(one["contender"], one["level"]): one for one in document["concurrency"] if one["threads"] == threads}
    rows = []
    for one in document["contenders"]:
        if one["threads"] != threads or "skipped" in one:
            continue
        name = one["contender"]
        first = find_cell(document, name, threads, *shape)
        row = [name, number(one["load"]), number(first["first"]) if first else ""]
        row.append(format_bytes(one["peak_bytes"]) if one.get("peak_bytes") else "")
        if texts:
            row += _show_texts(texts.get(name))
        row += [number(crowds[name, level]["texts_per_second"]) if (name, level) in crowds else "" for level in levels]
        rows.append(row)
    header = ["loading, ms", f"first run at {shape[0]}x{shape[1]}, ms", "most memory"]
    if texts:
        header += ["texts/s", "tokenisation", "beside padded batches"]
    yield ""
    yield from table(
        [f"{threads} thread{'s' * (threads != 1)}", *header, *(f"calls/s, {level} at once" for level in levels)], rows
    )


def _show_texts(one: Mapping[str, Any] | None) -> Sequence[str]:
    if one is None:
        return "", "", ""
    share = f"{100 * one['tokenise'] / one['milliseconds']:.0f} %"
    return number(one["texts_per_second"]), share, describe_sorting(one)


def _left_out(document: Document) -> Iterator[str]:
    skipped = {one["contender"]: one["skipped"] for one in document["contenders"] if "skipped" in one}
    for cell in document["cells"]:
        if "skipped" in cell:
            skipped[f"{cell['contender']} at {cell['batch']}x{cell['length']}"] = cell["skipped"]
    if skipped:
        yield "\nNot measured:\n"
        for name, why in skipped.items():
            yield f"- {name}: {' '.join(why.split()).replace('<', '(').replace('>', ')')}"
