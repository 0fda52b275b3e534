"""Profiles: which shapes a plan is for, chosen from the lengths that texts really have."""

from __future__ import annotations

from collections.abc import Mapping

from ...runtime.manifest import Profile

__all__ = ["choose_profiles"]

_BATCH = (1, 8, 32)
"""Least, best and most texts at once: one request, a small batch, and what a queue gathers."""

_STEP = 16
"""Kernels work on tiles of 16 tokens: lengths are rounded up to them."""


def choose_profiles(lengths: Mapping[int, int], max_length: int) -> tuple[Profile, ...]:
    """Profiles for texts of which `lengths` says how many there were of each length in tokens.

    The first is tuned for the median and reaches to the 95th percentile; where longer texts may come, a second reaches
    on to `max_length` and is tuned for its end. Without lengths there is one, tuned for 128 tokens.
    """
    if not lengths:
        return (_profile(min(128, max_length), max_length),)
    median, most = (min(_round_up(_quantile(lengths, share)), max_length) for share in (0.5, 0.95))
    first = _profile(median, most)
    return (first,) if most == max_length else (first, _profile(max_length, max_length))


def _profile(best: int, most: int) -> Profile:
    least, opt, high = _BATCH
    return Profile((least, 1), (opt, best), (high, most))


def _quantile(lengths: Mapping[int, int], share: float) -> int:
    wanted, seen = share * sum(lengths.values()), 0
    for length in sorted(lengths):
        seen += lengths[length]
        if seen >= wanted:
            return length
    return max(lengths)


def _round_up(length: int) -> int:
    return -(-length // _STEP) * _STEP
