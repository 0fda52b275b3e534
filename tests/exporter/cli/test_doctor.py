"""`bvx doctor`: the exit code says whether something has to be mended."""

from __future__ import annotations

import sys

from bvx.exporter import doctor


def test_doctor_fails_where_something_has_to_be_mended(bvx, monkeypatch):
    assert bvx("doctor", "--json").document["python"]["version"] == sys.version.split()[0]
    monkeypatch.setattr(doctor, "find_version", lambda name: "1.30.0" if name.startswith("onnxruntime") else None)
    done = bvx("doctor")
    assert done.code == 1
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in done.out


def test_doctor_shows_what_auto_takes(bvx):
    shown = bvx("doctor").out
    assert "What --engine auto takes" in shown and "no NVIDIA GPU here" in shown
