"""A budget of minutes: how the turns are divided among what is still to be measured."""

from __future__ import annotations

import pytest

from bvx.exporter.bench.budget import Budget
from bvx.exporter.bench.plan import FEWEST_ROUNDS

COSTS = {0: 40.0, 1: 40.0, 2: 40.0}


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_without_minutes_everything_has_all_turns(clock):
    budget = Budget(0, [(1, 16)], 3, clock=clock)
    assert budget.divide(COSTS, 30) == dict.fromkeys(COSTS, 30)


def test_a_shape_has_the_time_that_its_tokens_have_among_those_to_come(clock):
    budget = Budget(1, [(1, 100), (1, 300)], 3, clock=clock)
    # A quarter of a minute at 120 ms a turn of all three.
    assert budget.divide(COSTS, 1000) == dict.fromkeys(COSTS, 125)
    clock.now += 15
    assert budget.divide(COSTS, 1000) == dict.fromkeys(COSTS, 375)


def test_what_warming_up_took_is_put_by_for_the_shapes_to_come(clock):
    budget = Budget(1, [(1, 100), (1, 100)], 3, clock=clock)
    budget.note_warming(20.0)
    assert budget.divide(COSTS, 1000) == dict.fromkeys(COSTS, 166)


def test_when_the_time_is_up_there_are_as_many_turns_as_an_interval_needs(clock):
    budget = Budget(1, [(1, 100)], 3, clock=clock)
    clock.now += 600
    assert budget.divide(COSTS, 30) == dict.fromkeys(COSTS, FEWEST_ROUNDS)


def test_a_contender_that_is_far_slower_than_the_others_does_not_take_their_turns(clock):
    budget = Budget(1, [(1, 100)], 4, clock=clock)
    found = budget.divide({**COSTS, 3: 2000.0}, 1000)
    assert found == {0: 416, 1: 416, 2: 416, 3: FEWEST_ROUNDS}


def test_warming_up_is_shorter_where_time_is_short(clock):
    assert Budget(0, [(1, 16)], 3, clock=clock).warm_seconds == Budget(60, [(1, 16)], 3, clock=clock).warm_seconds
    assert Budget(1, [(1, 16)] * 8, 12, clock=clock).warm_seconds < 1


def test_texts_and_calls_at_once_have_shares_of_their_own(clock):
    budget = Budget(1, [(1, 100)], 3, extras=2, clock=clock)
    assert budget.limit_extra(4, 2.0) == pytest.approx(1.8) and budget.limit_extra(1, 2.0) == 2.0
    assert budget.divide(COSTS, 1000) == dict.fromkeys(COSTS, 380)
    assert Budget(0, [(1, 100)], 3, clock=clock).limit_extra(1000, 2.0) == 2.0
