"""What is wrong with a calibration is said before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from bvx.exporter.calibration_plan import CalibrationPlan
from bvx.exporter.supported import CALIBRATED, OBSERVERS


def said(plan: CalibrationPlan, precisions: tuple[str, ...] = ("fp32", "int8")) -> str:
    return " ".join(str(fault) for fault in plan.faults(precisions))


def test_a_plain_calibration_is_fine():
    assert not said(CalibrationPlan())
    assert not said(CalibrationPlan(texts="mail.txt", samples=1, observer="entropy", max_drop=0.0))


def test_nothing_is_calibrated_for_fp32_alone():
    plan = CalibrationPlan(texts="mail.txt", labelled="dev.csv", max_drop=0.01)
    fault = said(plan, ("fp32",))
    assert "--calibrate, --max-drop, --eval" in fault
    assert all(name in fault for name in CALIBRATED)
    assert not said(CalibrationPlan(), ("fp32",))


@pytest.mark.parametrize(
    ("plan", "parts"),
    [
        (CalibrationPlan(samples=0), ("--samples is 0",)),
        (CalibrationPlan(observer="crystal"), ("'crystal'", *OBSERVERS)),
        (CalibrationPlan(ranges=Path("/no/where")), ("/no/where", "ranges.safetensors")),
        (CalibrationPlan(max_drop=1.0), ("100.000%", "0.5%")),
        (CalibrationPlan(max_drop=-0.1), ("-10.000%",)),
    ],
)
def test_each_fault_says_what_was_found_and_what_is_wanted(plan, parts):
    fault = said(plan)
    assert all(part in fault for part in parts)


def test_ranges_and_texts_exclude_each_other(tmp_path: Path):
    ranges = tmp_path / "ranges.safetensors"
    ranges.write_bytes(b"")
    assert "give one" in said(CalibrationPlan(texts="mail.txt", ranges=ranges))
    assert not said(CalibrationPlan(ranges=ranges))


def test_ranges_may_be_a_bundle_that_has_them(tmp_path: Path):
    assert "has no ranges.safetensors" in said(CalibrationPlan(ranges=tmp_path))
    (tmp_path / "ranges.safetensors").write_bytes(b"")
    assert not said(CalibrationPlan(ranges=tmp_path))
