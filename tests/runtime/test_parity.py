"""Comparing outputs: what counts as a difference, what agrees, and what a report says of it."""

import json
import math

import numpy as np
import pytest

from bvx.runtime import differences
from bvx.runtime.parity import ParityReport, Tolerance, compare

LOOSE = Tolerance(max_abs=1e-2, mean_abs=1e-3, cosine=0.9999, argmax=1.0)


def output(shape=(3, 5, 8), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def row(reference, found, tolerance=LOOSE, **shape):
    return compare("case", "logits", np.asarray(reference), np.asarray(found), tolerance, **shape)


def test_equal_outputs_pass_with_no_difference():
    same = row(output(), output())
    assert same.passed
    assert (same.max_abs, same.mean_abs, same.argmax) == (0.0, 0.0, 1.0)
    assert same.cosine == pytest.approx(1.0)
    assert (same.batch, same.length) == (3, 5)


def test_differences_are_fractions_of_the_root_mean_square():
    reference = np.full((2, 4), 100.0, dtype=np.float32)
    found = reference.copy()
    found[0, 0] = 101.0
    result = row(reference, found, Tolerance(0.02, 0.02, 0.99, 0.0))
    assert result.scale == pytest.approx(100.0)
    assert result.max_abs == pytest.approx(0.01)
    assert result.mean_abs == pytest.approx(0.01 / 8)
    assert result.passed


def test_the_scale_of_an_output_that_is_all_but_zero_has_a_floor():
    result = row(np.zeros((2, 4)), np.full((2, 4), 1e-6))
    assert result.scale == differences.SCALE_FLOOR
    assert result.max_abs == pytest.approx(1e-3)
    assert result.cosine == 1.0
    assert result.passed


def test_one_value_off_by_more_than_allowed_fails():
    found = output()
    found[2, 4, 7] += 0.02
    assert not row(output(), found).passed


def test_a_mean_that_drifts_fails_even_where_no_single_value_does():
    assert not row(output(), output() + np.float32(0.005)).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_fails_where_the_reference_is_finite(bad):
    found = output()
    found[1, 1, 1] = bad
    result = row(output(), found)
    assert not result.passed
    assert result.max_abs == math.inf


def test_the_same_value_that_is_not_finite_agrees():
    reference = output()
    reference[0, 0, :3] = math.nan, math.inf, -math.inf
    assert row(reference, reference.copy()).passed
    swapped = reference.copy()
    swapped[0, 0, 1] = -math.inf
    assert not row(reference, swapped).passed
    assert not row(reference, output()).passed


def test_a_changed_decision_fails_and_a_tie_does_not():
    reference = np.array([[0.0, 10.0, 9.999], [5.0, 0.0, 0.0]])
    tie = row(reference, np.array([[0.0, 9.999, 10.0], [5.0, 0.0, 0.0]]))
    assert tie.argmax == 1.0
    changed = row(reference, np.array([[0.0, 10.0, 9.999], [0.0, 5.0, 0.0]]))
    assert changed.argmax == 0.5
    assert not changed.passed


def test_argmax_is_not_asked_of_a_last_axis_of_one():
    assert row(np.array([[1.0], [2.0]]), np.array([[1.0], [2.0]])).argmax == 1.0


def test_the_direction_of_a_few_values_that_are_near_zero_by_chance_says_nothing():
    few, other = np.array([[0.02, -0.02]], np.float32), np.array([[-0.01, 0.02]], np.float32)
    assert compare("c", "o", few, other, LOOSE).cosine < 0
    small = compare("c", "o", few, other, LOOSE, typical=1.0)
    assert small.cosine == 1.0 and small.max_abs == pytest.approx(0.04) and not small.passed


def test_a_direction_that_turned_shows_in_the_cosine():
    result = row(output(), -output(), Tolerance(1e9, 1e9, 0.99, 0.0))
    assert result.cosine == pytest.approx(-1.0)
    assert not result.passed


@pytest.mark.parametrize(
    ("found", "note"), [(output((3, 5, 7)), r"\[3, 5, 7\], not \[3, 5, 8\]"), (output((3, 5)), "shape")]
)
def test_another_shape_fails_with_a_note(found, note):
    result = row(output(), found)
    assert not result.passed
    with pytest.raises(AssertionError, match=note):
        raise AssertionError(result.note)


def test_nothing_compared_is_nothing_proven():
    assert not row(np.zeros((0, 4)), np.zeros((0, 4))).passed
    empty = ParityReport("fp32/cpu", "onnxruntime", (), {})
    assert not empty
    assert empty.worst() is None
    assert "nothing was compared" in empty.summary()


def test_blocks_do_not_change_the_result(monkeypatch):
    reference, found = output((7, 11, 13)), output((7, 11, 13)) + 1e-3 * output((7, 11, 13), seed=1)
    whole = row(reference, found)
    monkeypatch.setattr(differences, "_BLOCK", 17)
    blocks = row(reference, found)
    for name in ("scale", "max_abs", "mean_abs", "cosine", "argmax"):
        assert getattr(blocks, name) == pytest.approx(getattr(whole, name))


def test_half_precision_outputs_are_compared_in_full():
    reference = np.full((4, 4096), 200.0, dtype=np.float16)
    assert row(reference, reference).scale == pytest.approx(200.0)


def test_a_scalar_output_is_compared():
    assert row(np.float32(3.0), np.float32(3.0)).passed


def test_a_failed_report_names_output_case_length_and_layer():
    bad = compare("left-padded", "pooler_output", output((3, 8)), 2 * output((3, 8)), LOOSE, batch=3, length=17)
    good = row(output(), output())
    report = ParityReport("fp32/cpu", "onnxruntime 1.32", (good, bad, good), {"cpu": "x"}, "encoder.layer.4")
    assert not report
    assert report.worst() is bad
    for word in ("pooler_output", "left-padded", "length 17", "1 of 3", "encoder.layer.4", "fp32/cpu"):
        assert word in report.summary()


def test_a_passed_report_names_what_came_closest():
    near = row(output(), output() + np.float32(0.0009))
    report = ParityReport("fp32/cpu", "onnxruntime", (row(output(), output()), near), {})
    assert report
    assert report.worst() is near
    assert "all 2 comparisons agree" in report.summary()


def test_a_report_is_plain_json_even_when_nothing_was_finite():
    found = output()
    found[0] = math.nan
    report = ParityReport("fp32/cpu", "onnxruntime", (row(output(), found),), {"cpu": "x"})
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["passed"] is False
    assert document["rows"][0]["max_abs"] is None
    assert document["rows"][0]["tolerance"]["max_abs"] == 1e-2
