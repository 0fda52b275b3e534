"""The words of a measurement, the same on a terminal, in the page and in the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "describe_environment",
    "describe_machine",
    "describe_ratio",
    "describe_sorting",
    "describe_summary",
    "find_measured",
    "number",
    "show_shape",
]


def describe_summary(document: Mapping[str, Any]) -> Iterator[str]:
    """What was found, in sentences, the losing cells too."""
    if not document["complete"]:
        yield "INCOMPLETE: the measuring was interrupted; cells may lack, or have fewer turns than were asked for."
    yield describe_machine(document)
    cells = find_measured(document)
    ours = {one["contender"] for one in document["contenders"] if one["ours"]}
    places: dict[tuple[int, int, int], list[Mapping[str, Any]]] = {}
    for cell in cells:
        places.setdefault((cell["threads"], cell["batch"], cell["length"]), []).append(cell)
    for (threads, batch, length), here in places.items():
        ranked = sorted(here, key=lambda cell: float(cell["p50"]))
        best, others = ranked[0], ranked[1:]
        where = f"At {batch}x{length} on {threads} thread{'s' * (threads != 1)}"
        if not others:
            yield f"{where} {best['contender']} takes {number(best['p50'])} ms."
            continue
        second = others[0]
        near = [cell["contender"] for cell in others if cell["low"] <= best["high"]]
        sentence = (
            f"{where} {best['contender']} is the fastest with {number(best['p50'])} ms; "
            f"{second['contender']} takes {number(second['p50'])} ms"
        )
        yield f"{sentence}: no difference, as their intervals meet." if second["contender"] in near else f"{sentence}."
        mine = next((cell for cell in ranked if cell["contender"] in ours), None)
        if mine is not None and best["contender"] not in ours and mine["contender"] not in near:
            yield (
                f"  bvx loses this cell: its best is {mine['contender']} with {number(mine['p50'])} ms, "
                f"{mine['p50'] / best['p50']:.2f} times as long."
            )


def describe_machine(document: Mapping[str, Any]) -> str:
    """The conditions, in a paragraph."""
    machine = document["machine"]
    noise = machine["noise"]
    pinned = "bound to cores" if document["asked"]["pinned"] else "not bound to cores"
    words = [
        f"{machine['cpu']} ({machine['features']}), {machine['cores']} cores allowed, {machine['system']};",
        f"each engine a process of its own, {pinned}, {document['asked']['rounds']} turns.",
    ]
    if noise["spread"] is not None:
        noisy = noise["spread"] > 0.1 or (noise["waited"] or 0.0) > 0.1
        shaky = " That is a noisy machine: trust ratios, not milliseconds." if noisy else ""
        stolen = f", the host gave {100 * noise['steal']:.0f} % of its time to others" if noise["steal"] else ""
        waited = (
            f", runs on one thread waited for a processor {100 * noise['waited']:.0f} % of their time"
            if noise["waited"] is not None
            else ""
        )
        words.append(
            f"A fixed piece of work between the turns took up to {100 * noise['spread']:.0f} % longer than its median "
            f"in nine of ten cases; load {noise['load']}{stolen}{waited}.{shaky}"
        )
    return " ".join(words)


def describe_environment(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The machine line by line: what it is, and how steady it was."""
    machine, asked = document["machine"], document["asked"]
    noise = machine["noise"]
    rows = [(name, str(value)) for name, value in machine.items() if name != "noise"]
    pinned = "each process bound to as many cores as it has threads" if asked["pinned"] else "no process bound to cores"
    rows.append(("pinning", pinned))
    if noise["spread"] is not None:
        rows.append(("load afterwards", str(noise["load"])))
        rows.append(("taken by the host", "not told" if noise["steal"] is None else f"{100 * noise['steal']:.1f} %"))
        if noise["waited"] is not None:
            rows.append(("runs on one thread waited", f"{100 * noise['waited']:.1f} % of their time for a processor"))
        rows.append(
            (
                "noise",
                f"hashing 1 MiB between the turns took {noise['yardstick']:.2f} ms (median), and in one of ten cases "
                f"{100 * noise['spread']:.0f} % longer or more",
            )
        )
    return rows


def describe_ratio(cell: Mapping[str, Any]) -> str:
    """How a cell stands beside the baseline's: `1.42 times as fast (1.38 to 1.45)`."""
    if cell.get("verdict") in ("baseline", "", None):
        return str(cell.get("verdict") or "")
    span = f"{cell['ratio']:.2f} ({cell['ratio_low']:.2f} to {cell['ratio_high']:.2f})"
    return f"{span}, no difference" if cell["verdict"] == "no difference" else f"{span} times as fast"


def describe_sorting(texts: Mapping[str, Any]) -> str:
    """How a bundle's texts/s stand beside batches as they come, padded to their longest text: `2.1 times`."""
    return f"{texts['padded'] / texts['milliseconds']:.2f} times" if texts.get("padded") else ""


def find_measured(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cells that were measured."""
    return [cell for cell in document["cells"] if "turns" in cell]


def show_shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def number(value: float) -> str:
    """Three digits that mean something."""
    if isinstance(value, int) or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
