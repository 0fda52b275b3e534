"""How busy a machine was is told from the runs themselves."""

from __future__ import annotations

import pytest

from bvx.exporter.bench.machine import describe_noise


def cell(work, taken, threads=1):
    return {"threads": threads, "work": [work] * 3, "turns": [[taken, taken]] * 3}


def test_runs_on_one_thread_tell_how_long_they_had_no_processor():
    found = describe_noise([1.0] * 10, {}, [cell(4.0, 10.0), cell(9.0, 10.0), cell(2.0, 10.0)])
    assert found["waited"] == pytest.approx(0.6)


@pytest.mark.parametrize("cells", [[], [cell(18.0, 10.0, threads=2)], [{"threads": 1, "turns": [[1.0]]}]])
def test_without_such_runs_nothing_is_said(cells):
    assert describe_noise([1.0] * 10, {}, cells)["waited"] is None


def test_clocks_that_differ_a_little_make_no_negative_share():
    assert describe_noise([1.0] * 10, {}, [cell(10.1, 10.0)])["waited"] == 0.0
