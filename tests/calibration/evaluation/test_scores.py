"""Scores and intervals against what they are by definition."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.calibration.evaluation.scores import (
    answer_exact,
    answer_f1,
    interval,
    mean_of,
    pearson_of,
    ratio_of,
    spearman_of,
)

ALL = np.arange(5)


def test_a_score_is_that_of_the_examples_that_count() -> None:
    assert mean_of([1, 0, 1, 1, 0])(ALL) == 0.6
    assert mean_of([1, 0, 1, 1, 0])(np.array([1, 1, 0])) == pytest.approx(1 / 3)
    assert ratio_of([2, 0, 2, 0, 0], [2, 3, 3, 1, 0])(ALL) == pytest.approx(4 / 9)
    assert ratio_of([0, 0], [0, 0])(np.array([0, 1])) == 1.0


def test_correlations_are_numpys_and_equal_values_share_a_rank() -> None:
    found, wanted = [1.0, 2, 3, 4, 5], [5.0, 6, 7, 8, 7]
    assert pearson_of(found, wanted)(ALL) == pytest.approx(np.corrcoef(found, wanted)[0, 1])
    assert spearman_of(found, wanted)(ALL) == pytest.approx(0.8207826816681233, abs=1e-12)
    assert spearman_of(found, np.exp(found))(ALL) == pytest.approx(1.0)
    assert spearman_of([1, 1, 1, 1, 1], wanted)(ALL) == 0.0


def test_the_interval_of_a_difference_is_paired() -> None:
    draw = np.random.default_rng(1)
    before = draw.random(2000) < 0.8
    after = before.copy()
    after[:20] = False
    low, high = interval(mean_of(before), mean_of(after), 2000)
    exact = np.mean(after.astype(float) - before)
    spread = 1.96 * np.std(after.astype(float) - before) / np.sqrt(2000)
    assert (low, high) == pytest.approx((exact - spread, exact + spread), abs=spread / 5)
    # Unpaired it would be several times as wide.
    assert high - low < 0.25 * 2 * 1.96 * np.sqrt(2 * 0.16 / 2000)


def test_the_interval_is_the_same_every_time_and_nothing_where_nothing_changed() -> None:
    draw = np.random.default_rng(1)
    score, other = mean_of(draw.random(500)), mean_of(draw.random(500))
    assert interval(score, other, 500, seed=3) == interval(score, other, 500, seed=3)
    assert interval(score, other, 500, seed=3) != interval(score, other, 500, seed=4)
    assert interval(score, score, 500) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("found", "wanted", "exact", "f1"),
    [
        ("The Norman conquest!", ["norman conquest"], 1.0, 1.0),
        ("in 1066", ["1066", "the year 1066"], 0.0, 2 / 3),
        ("year 1066", ["1066", "the year 1066"], 1.0, 1.0),
        ("", [], 1.0, 1.0),
        ("", ["1066"], 0.0, 0.0),
        ("1066", [], 0.0, 0.0),
        ("the", ["a"], 1.0, 1.0),
        ("a a cat cat", ["cat dog"], 0.0, 0.5),
    ],
)
def test_answers_are_compared_as_squads_own_script_does(found, wanted, exact, f1) -> None:
    assert answer_exact(found, wanted) == exact
    assert answer_f1(found, wanted) == pytest.approx(f1)
