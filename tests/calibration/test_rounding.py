"""Rounding together is GPTQ, column by column as its paper writes it."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.calibration import rounding
from bvx.calibration.rounding import factorise, round_together


def problem(width: int = 200, outputs: int = 24, limit: int = 7):
    """Correlated inputs [500, width], a weight [width, outputs], and its scales."""
    random = np.random.default_rng(width)
    inputs = random.normal(size=(500, width)) @ random.normal(size=(width, width)) / width**0.5
    weight = random.normal(size=(width, outputs)).astype(np.float32)
    return inputs.astype(np.float32), weight, (np.abs(weight).max(axis=0) / limit).astype(np.float32)


def gptq(weight, scales, hessian, limit):
    """Frantar et al., algorithm 1, with blocks of one column: channels in the order in which they are given."""
    left = weight.astype(np.float64).copy()
    upper = np.linalg.cholesky(np.linalg.inv(hessian.astype(np.float64))).T
    integers = np.zeros_like(left)
    for row in range(len(left)):
        integers[row] = np.clip(np.rint(left[row] / scales), -limit, limit)
        error = (left[row] - integers[row] * scales) / upper[row, row]
        left[row:] -= np.outer(upper[row, row:], error)
    return integers


def error(inputs, weight, integers, scales):
    return float(np.square(inputs @ (weight - integers * scales)).mean())


def test_it_finds_the_integers_that_gptq_finds():
    inputs, weight, scales = problem()
    hessian = inputs.T @ inputs
    factor, order = factorise(hessian)
    found = round_together(weight, scales, factor, order, 7)
    damped = hessian + 0.01 * np.diagonal(hessian).mean() * np.eye(len(hessian))
    backwards = order[::-1]  # the channel of the most energy first
    expected = np.empty_like(weight)
    expected[backwards] = gptq(weight[backwards], scales, damped[np.ix_(backwards, backwards)], 7)
    assert found.dtype == np.int8 and np.mean(found != expected) < 1e-3


@pytest.mark.parametrize("limit", [7, 64, 127])
def test_the_output_is_nearer_than_with_rounding_to_the_nearest(limit):
    inputs, weight, scales = problem(limit=limit)
    factor, order = factorise(inputs.T @ inputs)
    found = round_together(weight, scales, factor, order, limit)
    nearest = np.clip(np.rint(weight / scales), -limit, limit)
    assert np.abs(found).max() <= limit
    assert error(inputs, weight, found, scales) < 0.7 * error(inputs, weight, nearest, scales)


@pytest.mark.parametrize("width", [5, 128, 129, 300])
def test_the_factor_is_that_of_the_damped_matrix_for_any_number_of_blocks(width):
    inputs, _, _ = problem(width)
    hessian = inputs.T @ inputs
    factor, order = factorise(hessian, damping=0.1)
    wanted = hessian[np.ix_(order, order)] + 0.1 * np.diagonal(hessian).mean() * np.eye(width)
    np.testing.assert_allclose(factor.T @ factor, wanted, atol=1e-4 * wanted.max())
    assert np.all(np.diff(np.diagonal(hessian)[order]) >= 0) and not np.tril(factor, -1).any()


def test_blocks_change_nothing(monkeypatch):
    inputs, weight, scales = problem(60)
    factor, order = factorise(inputs.T @ inputs)
    whole = round_together(weight, scales, factor, order, 7)
    monkeypatch.setattr(rounding, "_BLOCK", 7)
    assert np.mean(round_together(weight, scales, factor, order, 7) != whole) < 1e-2


def test_channels_that_are_never_used_and_inputs_that_are_all_zero_are_rounded_to_the_nearest():
    inputs, weight, scales = problem(20)
    inputs[:, 3] = 0
    factor, order = factorise(inputs.T @ inputs)
    assert np.array_equal(round_together(weight, scales, factor, order, 7)[3], np.rint(weight[3] / scales))
    factor, order = factorise(np.zeros((20, 20), np.float32))
    assert np.array_equal(round_together(weight, scales, factor, order, 7), np.rint(weight / scales))


def test_a_matrix_that_rounding_left_indefinite_is_damped_until_it_can_be_factorised():
    """Float32 sums of channels that differ by a factor of a thousand have eigenvalues a little below zero."""
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    hessian = (vectors * np.array([-0.05, 1, 1, 1, 1, 1, 1, 1])) @ vectors.T
    factor, order = factorise(hessian.astype(np.float32))
    assert np.isfinite(factor).all()
    damping = (factor.T @ factor - hessian[np.ix_(order, order)]).diagonal().mean() / hessian.diagonal().mean()
    assert damping == pytest.approx(0.1, rel=1e-3)


def test_a_matrix_that_is_no_sum_of_squares_is_an_error():
    with pytest.raises(np.linalg.LinAlgError):
        factorise(-np.eye(4, dtype=np.float32))
