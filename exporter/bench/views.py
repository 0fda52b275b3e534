"""What a person reads of a measurement on a terminal: sentences first, then tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..layout import Block, Table, format_bytes
from .compare import Change
from .words import describe_ratio, describe_sorting, describe_summary, find_measured, number, show_shape

__all__ = ["describe_changes", "view_bench", "view_changes"]


def view_bench(document: Mapping[str, Any], written: Sequence[str]) -> Iterator[Block]:
    """`bvx bench`: document.describe's document, and the files that were `written`."""
    yield from describe_summary(document)
    for threads in document["asked"]["threads"]:
        cells = [cell for cell in find_measured(document) if cell["threads"] == threads]
        for shape in document["asked"]["shapes"]:
            here = [cell for cell in cells if [cell["batch"], cell["length"]] == shape]
            if here:
                title = f"{show_shape(shape)}, {threads} thread{'s' * (threads != 1)}, milliseconds"
                yield Table(title, _COLUMNS, tuple(_row(cell) for cell in sorted(here, key=lambda one: one["p50"])))
    if document["texts"]:
        rows = tuple(
            (
                one["contender"],
                str(one["threads"]),
                number(one["texts_per_second"]),
                number(one["tokens_per_second"]),
                f"{100 * one['tokenise'] / one['milliseconds']:.0f} %",
                describe_sorting(one),
            )
            for one in document["texts"]
        )
        columns = ("engine", "threads", "texts/s", "tokens/s", "tokenisation", "beside padded batches")
        yield Table(f"{document['texts'][0]['texts']} texts, from strings to answers", columns, rows)
    if document["concurrency"]:
        crowds = tuple(
            (
                one["contender"],
                str(one["threads"]),
                str(one["level"]),
                number(one["texts_per_second"]),
                number(one["p99"]),
            )
            for one in document["concurrency"]
        )
        yield Table("Calls that come at once", ("engine", "threads", "at once", "texts/s", "p99"), crowds)
    loaded = [one for one in document["contenders"] if "skipped" not in one]
    yield Table(
        "Processes",
        ("engine", "threads", "version", "loading ms", "peak memory"),
        tuple(
            (
                one["contender"],
                str(one["threads"]),
                one["version"],
                number(one["load"]),
                format_bytes(one["peak_bytes"]) if one.get("peak_bytes") else "",
            )
            for one in loaded
        ),
    )
    skipped = [(one["contender"], one["skipped"]) for one in document["contenders"] if "skipped" in one]
    skipped += [
        (f"{one['contender']} at {one['batch']}x{one['length']}", one["skipped"])
        for one in document["cells"]
        if "skipped" in one
    ]
    if skipped:
        yield Table("Not measured", (), tuple(dict.fromkeys(skipped)))
    for path in written:
        yield f"Written: {path}"


_COLUMNS = ("engine", "p50", "95 % interval", "p90", "p95", "p99", "mean ± sd", "first", "texts/s", "beside baseline")


def _row(cell: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        cell["contender"],
        number(cell["p50"]),
        f"{number(cell['low'])} to {number(cell['high'])}",
        number(cell["p90"]),
        number(cell["p95"]),
        number(cell["p99"]),
        f"{number(cell['mean'])} ± {number(cell['deviation'])}",
        number(cell["first"]),
        number(cell["texts_per_second"]),
        describe_ratio(cell),
    )


def describe_changes(changes: Sequence[Change], remarks: Sequence[str], fail_above: float) -> dict[str, Any]:
    """What `bvx bench --compare --json` writes."""
    return {
        "passed": not any(change.verdict == "slower" for change in changes),
        "fail_above": fail_above,
        "changes": [asdict(change) for change in changes],
        "remarks": list(remarks),
    }


def view_changes(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx bench --compare`: what got slower in sentences, and every cell in a table."""
    slower = [one for one in document["changes"] if one["verdict"] == "slower"]
    allowed = f"{100 * document['fail_above']:g} %"
    for one in slower:
        yield (
            f"{one['contender']} at {one['batch']}x{one['length']} on {one['threads']} "
            f"thread{'s' * (one['threads'] != 1)} got slower: {number(one['old'])} ms became {number(one['new'])} ms, "
            f"{100 * (one['ratio'] - 1):.0f} % more, and with confidence at least {100 * (one['least'] - 1):.0f} %; "
            f"{allowed} is allowed."
        )
    if not slower and any(one["verdict"] != "too noisy" for one in document["changes"]):
        yield f"Nothing got slower by more than {allowed} with confidence."
    yield from document["remarks"]
    rows = tuple(
        (
            one["contender"],
            str(one["threads"]),
            f"{one['batch']}x{one['length']}",
            number(one["old"]),
            number(one["new"]),
            f"{100 * (one['ratio'] - 1):+.1f} %",
            f"{100 * (one['least'] - 1):+.1f} to {100 * (one['most'] - 1):+.1f} %",
            one["verdict"],
        )
        for one in document["changes"]
    )
    yield Table(
        "Every cell, milliseconds", ("engine", "threads", "shape", "old", "new", "change", "interval", "verdict"), rows
    )
