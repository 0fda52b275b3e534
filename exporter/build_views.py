"""What a person reads of engines: `bvx build`, and the engines that a bundle has on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .layout import Block, Table, format_bytes

__all__ = ["view_build", "view_choices", "view_choosing", "view_engines", "view_layers"]


def view_build(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx build`: what was built, what the audit found, and where it lies."""
    yield from view_engines(document["engines"], f"Built by {document['engine']} {document['version']}")
    for one in document["engines"]:
        yield f"{one['variant']}: {one['file']}"


def view_choosing(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx build --engine cpu`: what was measured, and what `auto` takes from now on."""
    installed = ", ".join(f"{name} {version}" for name, version in document["installed"].items()) or "none"
    if len(document["installed"]) < 2:
        yield f"Engines for the CPU: {installed}. There is nothing to choose, so nothing was measured."
        return
    yield f"Measured {installed}."
    yield from view_choices(document["choices"])
    yield f"Kept in {document['file']}."


def view_choices(choices: list[Mapping[str, Any]]) -> Iterator[Block]:
    """A row for each variant and number of threads: the engine, and the medians that it was chosen by."""
    rows = []
    for one in choices:
        times = (
            f"{engine} " + ", ".join(f"{shape} {taken:.1f}" for shape, taken in shapes.items())
            for engine, shapes in one["milliseconds"].items()
        )
        rows.append((one["variant"], str(one["threads"]), one["engine"], "; ".join(times)))
    if rows:
        columns = ("variant", "threads", "engine", "medians in ms")
        yield Table('Measured here: what engine="auto" takes', columns, tuple(rows))


def view_engines(engines: list[Mapping[str, Any]], title: str = "Engines") -> Iterator[Block]:
    """A row per engine: for which GPUs and shapes, and what it consists of."""
    rows = []
    for one in engines:
        audit = one["audit"]
        gemms = ", ".join(f"{count} {name}" for name, count in audit.get("gemms", {}).items())
        shapes = ", ".join(":".join("x".join(map(str, part)) for part in _parts(p)) for p in one["profiles"])
        fused = f"{audit.get('attentions_fused', '?')}/{audit.get('attentions', '?')}"
        kernels = f"{audit.get('kernels', '?')} ({audit.get('kernels_per_layer', '?')} a layer)"
        size = format_bytes(one["bytes"])
        rows.append((one["variant"], " ".join(one["gpus"]), shapes, size, fused, gemms, kernels))
    columns = ("variant", "GPUs", "shapes", "size", "attention fused", "linear layers", "kernels")
    yield Table(title, columns, tuple(rows))


def view_layers(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx inspect --engine`: every engine, and a row for each of its layers."""
    if not document["engines"]:
        yield f"{document['path']} has no engine, and neither has this machine's cache for it. `bvx build` makes one."
        return
    yield from view_engines(document["engines"])
    for one in document["engines"]:
        rows = tuple(
            (layer["name"], layer["kind"], " ".join(layer["inputs"]), " ".join(layer["outputs"]))
            for layer in one["audit"].get("layers", [])
        )
        yield Table(f"{one['variant']}: {one['file']}", ("layer", "kind", "reads", "makes"), rows)


def _parts(profile: Mapping[str, Any]) -> tuple[Any, ...]:
    return profile["min"], profile["opt"], profile["max"]
