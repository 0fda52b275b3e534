"""Latency's arithmetic: warming up, percentiles, and intervals that contain the truth. No clock is read."""

import itertools

import numpy as np
import pytest

from bvx.runtime import latency
from bvx.runtime.latency import WarmUp, compare_turns, find_interval, summarise, warm_up


@pytest.fixture
def clock(monkeypatch):
    """Makes runs take what a list says: clock([5, 4, …]) in milliseconds, the last one for ever; gives the run."""
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    def make(times):
        pending = itertools.chain(times, itertools.repeat(times[-1]))

        def run():
            now[0] += next(pending) / 1e3

        return run

    return make


def draws(seed, scale, turns=40, burst=3):
    random = np.random.default_rng(seed)
    return (scale * random.lognormal(0, 0.1, (turns, burst))).tolist()


def test_warming_up_ends_when_runs_are_steady_and_remembers_the_first(clock):
    found = warm_up(clock([900.0, 50.0, 40.0, 30.0, 20.0, 10.0]))
    assert found.first == pytest.approx(900) and found.steady
    assert found.typical == pytest.approx(10) and 11 <= found.runs < 40


def test_warming_up_that_never_gets_steady_ends_and_says_so(clock):
    found = warm_up(clock([float(2**number) for number in range(40)]), most_seconds=3)
    assert not found.steady and found.runs < 20


def test_a_row_has_the_percentiles_of_single_runs_and_rates_of_the_median():
    turns = [[float(number)] for number in range(1, 101)]
    row = summarise(turns, 8, 128, WarmUp(500.0, 12, True, 50.0))
    assert (row.runs, row.warm_up, row.first) == (100, 12, 500.0)
    assert (row.p50, row.p99) == (pytest.approx(50.5), pytest.approx(99.01))
    assert row.mean == pytest.approx(50.5) and row.deviation == pytest.approx(np.arange(1, 101).std())
    assert row.texts_per_second == pytest.approx(8 / 0.0505)
    assert row.tokens_per_second == pytest.approx(8 * 128 / 0.0505)
    assert row.low < row.p50 < row.high


def test_the_interval_contains_the_true_median_about_as_often_as_it_says():
    inside = 0
    for seed in range(100):
        low, high = find_interval(draws(seed, 10.0))
        inside += low <= 10.0 <= high
    assert 88 <= inside <= 100


def test_turns_of_whole_blocks_widen_the_interval_where_runs_of_a_turn_are_alike():
    random = np.random.default_rng(0)
    levels = random.lognormal(0, 0.3, 30)
    alike = [[level] * 8 for level in levels]
    apart = random.lognormal(0, 0.3, (30, 8)).tolist()
    width = [high - low for low, high in (find_interval(alike), find_interval(apart))]
    assert width[0] > 1.5 * width[1]


def test_a_ratio_of_turns_that_ran_beside_each_other_is_free_of_what_slowed_both():
    drift = np.linspace(1, 3, 40)[:, None]
    one = (drift * np.array(draws(0, 10.0))).tolist()
    other = (drift * np.array(draws(1, 12.0))).tolist()
    ratio, low, high = compare_turns(other, one, paired=True)
    assert low < 1.2 < high and 1.1 < ratio < 1.3
    _, loose_low, loose_high = compare_turns(other, one, paired=False)
    assert loose_high - loose_low > 2 * (high - low)


def test_equal_engines_are_rarely_told_apart_and_a_tenth_is():
    told = 0
    for seed in range(40):
        _, low, high = compare_turns(draws(seed, 10.0), draws(1000 + seed, 10.0), paired=True)
        told += not low <= 1 <= high
    assert told <= 6
    _, low, _ = compare_turns(draws(1, 11.0), draws(2, 10.0), paired=True)
    assert low > 1
