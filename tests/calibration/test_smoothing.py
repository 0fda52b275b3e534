"""A smoothing vector is SmoothQuant's, and is taken only where the outputs come nearer."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.calibration.activations import Seen
from bvx.calibration.places import Group
from bvx.calibration.sites import Linear
from bvx.calibration.smoothing import choose_smoothing, smoothed_bounds, smoothing_vector

LINEAR = Linear("layer", "x", "w", "b", "y")


def see(rows: np.ndarray) -> Seen:
    rows = rows.astype(np.float32)
    return Seen(len(rows), rows.mean(0), rows.min(0), rows.max(0), rows)


def rows_of(scale: float = 1.0) -> np.ndarray:
    """Rows [200, 16] of which the last channel is `scale` times as large as the others."""
    rows = np.random.default_rng(0).normal(size=(200, 16))
    rows[:, -1] *= scale
    return rows


def weight_of() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9, 1.0])
def test_the_vector_is_the_papers_but_for_a_common_factor(alpha):
    peaks, weight_peaks = np.array([1.0, 4.0, 30.0]), np.array([0.5, 0.1, 0.3])
    vector = smoothing_vector(peaks, weight_peaks, alpha)
    paper = peaks**alpha / weight_peaks ** (1 - alpha)
    np.testing.assert_allclose(vector / vector[0], paper / paper[0], rtol=1e-5)
    assert vector.dtype == np.float32 and np.log(vector).sum() == pytest.approx(0, abs=1e-5)


def test_a_channel_that_is_always_zero_gets_a_finite_factor():
    vector = smoothing_vector(np.array([0.0, 1.0]), np.array([1.0, 0.0]), 0.75)
    assert np.isfinite(vector).all() and (vector > 0).all()


def test_an_outlier_channel_is_smoothed_and_the_error_falls():
    seen = {"x": see(rows_of(100.0))}
    chosen = choose_smoothing(Group((LINEAR,)), {"w": weight_of()}, seen, {"x": seen["x"].bounds}, 127)
    assert chosen.vector is not None and chosen.error < 0.3 * chosen.plain
    assert np.argmax(chosen.vector) == 15
    low, high = smoothed_bounds(seen["x"], chosen.vector)
    assert max(-low, high) < 0.5 * max(map(abs, seen["x"].bounds))
    np.testing.assert_allclose([low, high], [f(seen["x"].rows / chosen.vector) for f in (np.min, np.max)], rtol=1e-5)


def test_no_vector_is_taken_where_none_is_better():
    # Ones, and weights of one size: both are on their grids already.
    seen = {"x": see(np.ones((20, 16)))}
    weight = np.tile(np.float32([1, -1, 1, -1, 1, -1, 1, -1]), (16, 1))
    chosen = choose_smoothing(Group((LINEAR,)), {"w": weight}, seen, {"x": (0.0, 1.0)}, 127)
    assert chosen.vector is None and chosen.error == chosen.plain


def test_uses_of_one_weight_get_one_vector_that_serves_them_all():
    other = Linear("layer 2", "x2", "w", "b", "y2")
    outlier = rows_of()
    outlier[:, 3] *= 80
    seen = {"x": see(rows_of(100.0)), "x2": see(outlier)}
    bounds = {name: one.bounds for name, one in seen.items()}
    chosen = choose_smoothing(Group((LINEAR, other)), {"w": weight_of()}, seen, bounds, 127)
    assert chosen.vector is not None and set(np.argsort(chosen.vector)[-2:]) == {3, 15}
    assert chosen.error < 0.5 * chosen.plain


def test_the_same_arguments_give_the_same_choice():
    seen = {"x": see(rows_of(100.0))}
    first, again = (
        choose_smoothing(Group((LINEAR,)), {"w": weight_of()}, seen, {"x": seen["x"].bounds}, 64) for _ in range(2)
    )
    assert first.error == again.error and np.array_equal(first.vector, again.vector)
