"""Scales that fp16 and bf16 hold exactly."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from bvx.exporter.targets.scales import BF16_DIGITS, FP16_DIGITS, round_up

GIVEN = np.exp(np.random.default_rng(0).uniform(-16, 8, 5000)).astype(np.float32)


@pytest.mark.parametrize(
    ("digits", "types"), [(FP16_DIGITS, (np.float16,)), (BF16_DIGITS, (np.float16, ml_dtypes.bfloat16))]
)
def test_every_scale_is_exact_and_no_smaller_and_no_more_than_a_digit_larger(digits, types):
    found = round_up(GIVEN, digits)
    for kind in types:
        np.testing.assert_array_equal(found.astype(kind).astype(np.float32), found)
    assert (found >= GIVEN).all()
    assert (found <= np.maximum(GIVEN * (1 + 2.0 ** (1 - digits)), GIVEN + 2.0**-24)).all()


def test_a_number_that_has_the_digits_stays_and_nothing_becomes_zero():
    np.testing.assert_array_equal(round_up([0.5, 1.0, 3.0, 2.0**-24], FP16_DIGITS), [0.5, 1.0, 3.0, 2.0**-24])
    np.testing.assert_array_equal(round_up([1e-12, 0.0], FP16_DIGITS), [2.0**-24, 2.0**-24])
