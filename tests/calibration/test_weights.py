"""Weights rounded to the nearest int8."""

from __future__ import annotations

import numpy as np
import pytest

from bvx.calibration.weights import quantize_weight, restore


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("reduced", "largest"), [(False, 127), (True, 64)])
def test_every_channel_uses_its_whole_range_and_is_off_by_half_a_step_at_most(axis, reduced, largest):
    matrix = weight(8, 6)
    matrix[3] *= 100
    found = quantize_weight(matrix, axis, reduced)
    assert found.values.dtype == np.int8 and found.scales.shape == (matrix.shape[axis],) and found.axis == axis
    np.testing.assert_array_equal(np.abs(found.values).max(axis=1 - axis), largest)
    steps = np.expand_dims(found.scales, 1 - axis)
    assert (np.abs(restore(found) - matrix) <= steps * 0.5001).all()


def test_minus_128_is_never_used():
    assert quantize_weight(np.float32([[-1.0, 1.0], [-3.0, 0.1]]), 0).values.min() == -127


@pytest.mark.parametrize("small", [0.0, 1e-44])
def test_a_channel_of_zeros_has_a_scale_that_can_be_divided_by(small):
    matrix = weight(4, 3)
    matrix[:, 1] = small
    found = quantize_weight(matrix, 1)
    assert (found.scales > 0).all() and found.scales[1] == 1 and not found.values[:, 1].any()
    assert np.isfinite(restore(found)).all()


def test_half_precision_weights_are_rounded_as_float32():
    matrix = weight(4, 3).astype(np.float16)
    np.testing.assert_array_equal(
        quantize_weight(matrix, 0).values, quantize_weight(matrix.astype(np.float32), 0).values
    )
