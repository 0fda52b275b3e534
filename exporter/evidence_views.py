"""What a person reads of the numbers behind a type of 16 bits: how near to its limits the texts came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["view_evidence"]

_NOTHING = 1e-6
"""A share of the type's range that is not worth a word: bf16's is 3.4e38."""


def view_evidence(document: Mapping[str, Any]) -> Iterator[str]:
    """How much stayed fp32 in the variants with such a type, and the most that was seen: a sentence for those alike."""
    alike: dict[str, list[str]] = {}
    for variant in document["variants"]:
        if variant["evidence"]:
            alike.setdefault("; ".join(_name(variant["evidence"])), []).append(variant["key"])
    for words, keys in alike.items():
        yield f"{', '.join(keys)}: {words}."


def _name(found: Mapping[str, Any]) -> Iterator[str]:
    kept, count = found["kept"], found["operators"]
    yield f"{kept} of {count} operators stayed fp32" if kept else f"none of {count} operators had to stay fp32"
    if found["unobserved"]:
        yield f"{found['unobserved']} were seen on no text"
    if "largest" in found and found["share"] > _NOTHING:
        share = _percent(found["share"])
        yield f"the largest value seen is {found['largest']:.4g}, {share} of what {found['type']} holds"
    if "loss" in found:
        yield (
            f"the most that rounding a value costs is {_percent(found['loss'])} of what texts change in it "
            f"({found['loss_at']}), {_percent(found['loss_allowed'])} may be"
        )
    elif found["type"] == "bf16":
        yield "what rounding costs was not looked at"


def _percent(share: float) -> str:
    """Two digits: 0.34 %, 1.1 %, 156 %."""
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"
