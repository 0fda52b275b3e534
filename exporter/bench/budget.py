"""Budget: how many turns a shape gets where the whole may last only so long."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from .plan import FEWEST_ROUNDS

__all__ = ["Budget"]

_WARM_SECONDS = 5.0
_WARM_SHARE = 0.25
_EXTRA_SHARE = 0.12
_SLOW = 4.0
"""A contender that takes so many times the median of all has the fewest turns that make an interval."""


class Budget:
    """Divides `minutes` among the `cells` (batch, length) that are still to come; 0 minutes are as many as it takes.

    A cell's share of what is left is that of its tokens, after what warming up has taken until now is put by for the
    others, and a share of the whole for each of `extras`, other things that are measured. `contenders` is how many
    warm up at each cell.
    """

    def __init__(
        self,
        minutes: float,
        cells: Sequence[tuple[int, int]],
        contenders: int,
        extras: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._end = clock, clock() + 60 * minutes
        self._limited = minutes > 0
        self._left = list(cells)
        self._cells = len(cells)
        self._extra_seconds = 60 * minutes * _EXTRA_SHARE
        self._extras = extras
        self._warmed: list[float] = []
        warmings = max(1, len(cells) * contenders)
        self.warm_seconds = min(_WARM_SECONDS, 60 * minutes * _WARM_SHARE / warmings) if minutes else _WARM_SECONDS

    def note_warming(self, seconds: float) -> None:
        """What warming up took for the cell that is measured next."""
        self._warmed.append(seconds)

    def limit_extra(self, parts: int, most: float) -> float:
        """Seconds for each of `parts` of one of the extras; `most` where there is no limit."""
        return min(most, self._extra_seconds / max(1, parts)) if self._limited else most

    def divide(self, costs: Mapping[int, float], most: int) -> dict[int, int]:
        """How many turns each contender gets at the next cell, by its number; `costs` are milliseconds of one turn."""
        cell, *rest = self._left
        share = len(self._left) / self._cells
        self._left = rest
        if not self._limited or not costs:
            return dict.fromkeys(costs, most)
        tokens = [batch * length for batch, length in (cell, *rest)]
        put_by = len(rest) * sum(self._warmed) / max(1, len(self._warmed))
        put_by += self._extras * self._extra_seconds * share
        seconds = max(0.0, self._end - self._clock() - put_by) * tokens[0] / sum(tokens)
        median = sorted(costs.values())[len(costs) // 2]
        slow = {number for number, cost in costs.items() if cost > _SLOW * median}
        others = sum(cost for number, cost in costs.items() if number not in slow)
        spare = 1e3 * seconds - FEWEST_ROUNDS * sum(costs[number] for number in slow)
        rounds = max(FEWEST_ROUNDS, min(most, int(spare / others)))
        return {number: FEWEST_ROUNDS if number in slow else rounds for number in costs}
