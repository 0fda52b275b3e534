"""A corrected bias takes out the mean error, weighted by how often each use of it ran."""

from __future__ import annotations

import numpy as np

from bvx.calibration.bias import Use, correct_bias


def test_the_mean_of_the_output_is_what_it_was():
    random = np.random.default_rng(0)
    inputs, weight, bias = random.normal(1, 1, (50, 6)), random.normal(size=(6, 4)), random.normal(size=4)
    rounded_inputs, rounded = np.rint(inputs), np.rint(weight * 2) / 2
    corrected = correct_bias(bias, weight, rounded, [Use(inputs.mean(0), rounded_inputs.mean(0), 50)])
    before, after = inputs @ weight + bias, rounded_inputs @ rounded + corrected
    np.testing.assert_allclose(after.mean(axis=0), before.mean(axis=0), atol=1e-5)
    assert corrected.dtype == np.float32 and np.abs(rounded_inputs @ rounded + bias - before).mean(axis=0).max() > 0.1


def test_several_uses_count_by_their_rows():
    random = np.random.default_rng(1)
    first, second = random.normal(1, 1, (30, 6)), random.normal(-2, 1, (90, 6))
    weight, bias = random.normal(size=(6, 4)), np.zeros(4)
    uses = [Use(one.mean(0), one.mean(0), len(one)) for one in (first, second)]
    both = np.concatenate([first, second]).mean(0)
    together = correct_bias(bias, weight, np.rint(weight), [Use(both, both, 120)])
    np.testing.assert_allclose(correct_bias(bias, weight, np.rint(weight), uses), together, rtol=1e-5)
