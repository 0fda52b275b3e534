"""What `bvx inspect --check` answers: the findings of the static checker for an ONNX file, or a bundle's variants."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..runtime.bundle import Bundle
from ..runtime.errors import BundleError, PlanError
from .checker import TARGETS, check
from .layout import Block, Table

__all__ = ["describe_checks", "read_check", "view_checks"]

_ASKED = re.compile(r"([a-z-]+)(?::([0-9]{1,3})\.([0-9]{1,3}))?", re.ASCII)
_OLDEST = (10, 14)


def read_check(text: str) -> tuple[str, tuple[int, int]]:
    """`tensorrt`, or `tensorrt:10.13` for another version than 10.14, as target and version. Raises PlanError."""
    found = _ASKED.fullmatch(text.strip())
    if not found or found[1] not in TARGETS:
        raise PlanError(
            f"{text!r} is nothing that can be checked for.", f"Write one of {', '.join(TARGETS)}, or tensorrt:10.13."
        )
    return found[1], (int(found[2]), int(found[3])) if found[2] else _OLDEST


def describe_checks(path: str, asked: str) -> dict[str, Any]:
    """The document of `bvx inspect PATH --check ASKED`; "passed" says that nothing would be refused.

    PATH is an ONNX file, or a bundle, whose variants for the target are checked. Raises PlanError, BundleError.
    """
    target, version = read_check(asked)
    checked: list[dict[str, Any]] = []
    for name, file in _find_graphs(Path(path), target):
        findings = check(file, target, version)
        checked.append({"name": name, "file": str(file), "findings": [vars(finding) for finding in findings]})
    refused = any(finding["severity"] == "refused" for one in checked for finding in one["findings"])
    return {
        "path": path,
        "target": target,
        "version": ".".join(map(str, version)),
        "passed": not refused,
        "checked": checked,
    }


def _find_graphs(path: Path, target: str) -> list[tuple[str, Path]]:
    if path.is_file():
        return [(path.name, path)]
    bundle = Bundle.open(path)
    variants = [variant for variant in bundle.manifest.variants if variant.target == target]
    if not variants:
        there = ", ".join(variant.key for variant in bundle.manifest.variants)
        raise BundleError(
            f"{path} has no variant for {target}. It has: {there}.",
            f"Export again with `--target {target}`, or name an ONNX file.",
        )
    return [(variant.key, bundle.path(variant.file)) for variant in variants]


def view_checks(document: Mapping[str, Any]) -> Iterator[Block]:
    """What a person reads: one row per rule and graph, with the first place that breaks it."""
    for one in document["checked"]:
        found = one["findings"]
        if not found:
            yield f"{one['name']}: no rule of {document['target']} {document['version']} is broken."
            continue
        counts = Counter(finding["rule"] for finding in found)
        firsts = {finding["rule"]: finding for finding in reversed(found)}
        rows = tuple(
            (firsts[rule]["severity"], rule, f"{count}", firsts[rule]["node"], firsts[rule]["reason"])
            for rule, count in counts.items()
        )
        title = f"{one['name']}, for {document['target']} {document['version']}"
        yield Table(title, ("effect", "rule", "times", "first at", "because"), rows)
        yield Table("What to do", (), tuple((rule, firsts[rule]["remedy"]) for rule in counts))
    refused = [one["name"] for one in document["checked"] if any(f["severity"] == "refused" for f in one["findings"])]
    yield f"{document['target']} would refuse {', '.join(refused)}." if refused else "It can be built."
