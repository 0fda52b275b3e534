"""A histogram in constant memory counts what NumPy counts with all values at hand."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.calibration.histogram import BINS, Histogram


def fill(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        rows = batch.reshape(len(batch), -1)
        histogram.add(batch, rows.min(axis=1), rows.max(axis=1))
    return histogram


def values(seed: int = 0, scale: float = 1.0, shape=(3, 40, 8)) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def test_the_counts_are_those_of_numpy() -> None:
    batches = [values(0), values(1, 30.0), values(2, 0.01)]
    histogram = fill(*batches)
    edges = (np.arange(2 * BINS + 1) - BINS) * histogram.width
    expected, _ = np.histogram(np.concatenate([batch.ravel() for batch in batches]), edges)
    assert (histogram.counts == expected).all()
    assert histogram.counts.sum() == sum(batch.size for batch in batches)


def test_how_values_were_split_into_batches_does_not_matter() -> None:
    whole = values(0, shape=(12, 5, 7)) * np.logspace(-3, 3, 12, dtype=np.float32)[:, None, None]
    upwards, downwards, once = fill(*whole[:, None]), fill(*whole[::-1, None]), fill(whole)
    for other in (upwards, downwards):
        assert other.width == once.width and (other.counts == once.counts).all()
        assert (other.low, other.high) == (once.low, once.high) == (whole.min(), whole.max())
        assert (other.mean_low, other.mean_high) == pytest.approx((once.mean_low, once.mean_high))


def test_the_largest_value_lies_in_the_upper_half_of_the_bins() -> None:
    for peak in (1.0, -1.0, 0.999, 1.001, 3e38, 1e-20):
        histogram = fill(np.array([[peak, 0.0]], np.float32))
        used = np.flatnonzero(histogram.counts)
        outer = used[-1] - BINS if peak > 0 else BINS - used[0]
        assert BINS // 2 <= outer <= BINS and histogram.counts.sum() == 2


def test_zeros_are_counted_before_and_after_the_first_value() -> None:
    histogram = fill(np.zeros((2, 3), np.float32), np.array([[5.0, 0.0]], np.float32))
    assert histogram.counts[BINS] == 7 and histogram.counts.sum() == 8
    assert fill(np.zeros((1, 4), np.float32)).peak == 0.0


def test_means_are_taken_over_texts() -> None:
    histogram = fill(np.array([[-1.0, 2.0], [-3.0, 4.0]], np.float32), np.array([[-5.0, 12.0]], np.float32))
    assert (histogram.mean_low, histogram.mean_high) == (-3.0, 6.0)
    assert (histogram.low, histogram.high, histogram.peak) == (-5.0, 12.0, 12.0)
