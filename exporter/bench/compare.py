"""Two documents of the same bench: what got slower, said only where it is certain enough to stop a release.

A run's own interval does not know that the whole machine was slower on that day. So a cell counts as slower only when
it is so by its median and by its lower quartile, which disturbances hardly reach, and each by the clock, beside the
yardstick that was timed between the turns, and by the processor time of the process, which does not grow while others
have the processor; with one chance in a hundred shared by all cells (Bonferroni). What waits for a device most of its
time is not judged by processor time. Where the runs of a document had no processor for a fifth of their time, because
others had it, nothing is said to be slower: even processor time grows by a half then, as caches are shared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...runtime.errors import PlanError
from ...runtime.latency import compare_turns

__all__ = ["Change", "compare_documents", "read_share"]

_CHANCE = 0.01
_BUSY = 0.2
_COMPUTES = 0.5
"""Share of its fastest run from which on a process computes, rather than wait for a device."""


@dataclass(frozen=True)
class Change:
    """One cell in both documents: `ratio` is new time over old, at least `least` and at most `most`.

    `verdict` is "slower", "faster", "no difference", or "too noisy" where the machine was too busy to tell.
    """

    contender: str
    threads: int
    batch: int
    length: int
    old: float
    new: float
    ratio: float
    least: float
    most: float
    verdict: str


def compare_documents(
    old: Mapping[str, Any], new: Mapping[str, Any], fail_above: float
) -> tuple[list[Change], list[str]]:
    """Every cell that both have, and sentences about those that one of them lacks or that cannot be compared.

    A cell is slower when it takes, with confidence, more than `fail_above` (0.05 is 5 %) longer. Raises PlanError when
    nothing can be compared.
    """
    before, after = _index(old), _index(new)
    both = [key for key in before if key in after]
    if not both:
        raise PlanError("The two documents have no cell in common.", "Measure the same bundles, engines and shapes.")
    remarks = []
    if old["machine"].get("cpu") != new["machine"].get("cpu"):
        remarks.append(
            f"They were measured on different processors: {old['machine'].get('cpu')} and {new['machine'].get('cpu')}."
        )
    remarks += [f"{_show(key)} is only in the old document." for key in before if key not in after]
    remarks += [f"{_show(key)} is only in the new document." for key in after if key not in before]
    busy = list(_find_busy(old, new))
    confidence = 1 - _CHANCE / len(both)
    changes = [_compare(key, before[key], after[key], fail_above, confidence) for key in both]
    return [replace(one, verdict="too noisy") for one in changes] if busy else changes, [*busy, *remarks]


def _find_busy(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name, document in (("old", old), ("new", new)):
        waited = document["machine"].get("noise", {}).get("waited") or 0.0
        if waited > _BUSY:
            yield (
                f"In the {name} document runs waited for a processor {100 * waited:.0f} % of their time: the machine "
                "was too busy to tell what got slower. Measure again when it is quiet."
            )


def _compare(
    key: tuple[str, int, int, int], old: Mapping[str, Any], new: Mapping[str, Any], fail_above: float, confidence: float
) -> Change:
    pace = _pace(new) / _pace(old)
    found = [
        (low / scale, high / scale)
        for _, low, high in _ratios(new["turns"], old["turns"], confidence)
        for scale in (1.0, pace)
    ]
    if _computes(old) and _computes(new):
        now, then = ([[one] for one in cell["work"]] for cell in (new, old))
        found += [(low, high) for _, low, high in _ratios(now, then, confidence)]
    least, most = min(low for low, _ in found), max(high for _, high in found)
    verdict = "slower" if least > 1 + fail_above else "faster" if most < 1 / (1 + fail_above) else "no difference"
    ratio = new["p50"] / old["p50"]
    return Change(*key, old=old["p50"], new=new["p50"], ratio=ratio, least=least, most=most, verdict=verdict)


def _ratios(
    new: Sequence[Sequence[float]], old: Sequence[Sequence[float]], confidence: float
) -> Iterator[tuple[float, float, float]]:
    for quantile in (0.5, 0.25):
        yield compare_turns(new, old, paired=False, quantile=quantile, confidence=confidence)


def _computes(cell: Mapping[str, Any]) -> bool:
    """Whether processor time says how long a cell's runs take where nothing else runs."""
    work = cell.get("work")
    return work is not None and min(work) >= _COMPUTES * min(min(turn) for turn in cell["turns"])


def _pace(cell: Mapping[str, Any]) -> float:
    times = cell.get("yardstick") or [1.0]
    return float(np.median(times))


def _index(document: Mapping[str, Any]) -> dict[tuple[str, int, int, int], Mapping[str, Any]]:
    return {
        (cell["contender"], cell["threads"], cell["batch"], cell["length"]): cell
        for cell in document["cells"]
        if "turns" in cell
    }


def _show(key: tuple[str, int, int, int]) -> str:
    contender, threads, batch, length = key
    return f"{contender} at {batch}x{length} on {threads} thread{'s' * (threads != 1)}"


def read_share(text: str) -> float:
    """`5%` and `0.05` are 0.05. Raises PlanError."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(%?)", text.strip())
    if not match:
        raise PlanError(f"--fail-above is {text!r}.", "Write it as 5% or 0.05.")
    return float(match[1]) / (100 if match[2] else 1)
