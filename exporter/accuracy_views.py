"""What a person reads of accuracy and speed: plain data, as in views."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .layout import Block, Table, format_bytes

__all__ = ["name_accuracy", "name_latency", "view_calibration", "view_recommendation", "view_tradeoff"]


def view_recommendation(document: Mapping[str, Any]) -> Iterator[Block]:
    """The closing words of `bvx export`: every variant with its size, speed and changed predictions, and the choice."""
    recommended = document["recommended"]
    if not recommended:
        return
    one = next(variant for variant in document["variants"] if variant["key"] == recommended)
    words = [format_bytes(one["bytes"])]
    if one["latency"]:
        words.append(f"{name_latency(one['latency'])}{_name_speed_up(document, one)}")
    if one["accuracy"]:
        words.append(name_accuracy(one["accuracy"]))
    yield f"Recommended: {recommended} ({', '.join(words)})"


def view_calibration(document: Mapping[str, Any]) -> Iterator[Block]:
    """`bvx inspect`: what was calibrated on, and what each variant's accuracy is."""
    found = document["calibration"]
    if found:
        methods = ", ".join(found["methods"]) or "none"
        rows = (
            ("texts", f"{found['samples']} of {found['lines']} in {found['source']}, {found['tokens']:,} tokens"),
            ("digest", f"sha256 {found['digest'][:16]}…, seed {found['seed']}"),
            ("observer", found["observer"]),
            ("methods", methods),
        )
        yield Table("Calibration", (), rows)
    if document["tradeoff"]:
        yield view_tradeoff(document["tradeoff"])
    judged = [variant for variant in document["variants"] if variant["accuracy"]]
    if judged:
        yield Table(
            "Accuracy",
            ("variant", "metric", "fp32", "here", "95 % of the difference", "changed"),
            tuple((variant["key"], *_accuracy_cells(variant["accuracy"])) for variant in judged),
        )


def view_tradeoff(trials: Sequence[Mapping[str, Any]]) -> Table:
    """What keeping operators in higher precision was worth: each choice that loses less than all with fewer kept."""
    rows: list[tuple[str, ...]] = []
    least = float("inf")
    for one in sorted(trials, key=lambda one: (one["kept"], one["loss"])):
        if one["loss"] < least:
            least = one["loss"]
            share = f"{one['int8_share']:.0%}"
            rows.append((str(one["kept"]), f"{one['loss']:.2%}", format_bytes(one["bytes"]), share))
    return Table(
        "Kept in higher precision for the budget", ("operators", "accuracy lost", "weights", "int8"), tuple(rows)
    )


def name_latency(latency: Mapping[str, Any]) -> str:
    """`3.2 ms at 1x128`."""
    return f"{latency['milliseconds']:.1f} ms at {latency['batch']}x{latency['length']}"


def _name_changes(accuracy: Mapping[str, Any]) -> str:
    """`3 of 1,000 predictions changed`."""
    return f"{accuracy['changed']:,} of {accuracy['compared']:,} {accuracy['unit']} changed"


def name_accuracy(accuracy: Mapping[str, Any]) -> str:
    """The same, behind the metric where there was labelled data: `accuracy 0.9250 -> 0.9240, 3 of …`."""
    changes = _name_changes(accuracy)
    if accuracy["metric"] == "agreement":
        return changes
    return f"{accuracy['metric']} {accuracy['before']:.4f} -> {accuracy['after']:.4f}, {changes}"


def _accuracy_cells(accuracy: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        accuracy["metric"],
        f"{accuracy['before']:.4f}",
        f"{accuracy['after']:.4f}",
        f"{accuracy['low']:+.4f} to {accuracy['high']:+.4f}",
        _name_changes(accuracy),
    )


def _name_speed_up(document: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    first = next((variant for variant in document["variants"] if variant["precision"] == "fp32"), None)
    if first is None or first is one or not first["latency"]:
        return ""
    return f", {first['latency']['milliseconds'] / one['latency']['milliseconds']:.2f} times as fast as fp32"
