"""What an export below fp32 is calibrated on, and what the bundle says of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bvx.calibration.store import FILE, read_ranges
from bvx.exporter.calibration_plan import CalibrationPlan
from bvx.exporter.pipeline import ExportResult, export
from bvx.exporter.plan import ExportPlan
from bvx.exporter.progress import Silent
from bvx.exporter.quantization import is_reduced, quantise
from bvx.runtime.errors import CalibrationError

TEXTS = "\n".join(f"the {word} number {at}" for at, word in enumerate(["cat", "dog", "sea", "sun"] * 10))


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("albert", "text-classification", tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def piped(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """Calibrated on standard input."""
    plan = ExportPlan(
        str(checkpoint),
        tmp_path_factory.mktemp("out") / "bundle",
        precisions=("int8",),
        calibration=CalibrationPlan(texts="-", samples=32),
    )
    return export(plan, stdin=io.BytesIO(TEXTS.encode()))


def test_texts_may_come_from_standard_input(piped: ExportResult):
    info = piped.manifest.calibration
    assert info is not None and info.source == "stdin" and (info.lines, info.samples) == (40, 32)
    assert "int8 embeddings" in info.methods


def test_ranges_lie_in_the_bundle_and_serve_another_export(piped: ExportResult, checkpoint: Path, tmp_path: Path):
    ranges = read_ranges(piped.path / FILE)
    plan = ExportPlan(
        str(checkpoint),
        tmp_path / "bundle",
        precisions=("int8",),
        calibration=CalibrationPlan(ranges=piped.path),
    )
    again = export(plan)
    assert dict(read_ranges(again.path / FILE).bounds) == dict(ranges.bounds)
    info = again.manifest.calibration
    # What needs the texts themselves is not claimed.
    assert info is not None and info.source == "stdin" and info.methods == ("int8 embeddings",)
    # Without texts there is nothing to compare answers on.
    assert again.manifest.accuracy == {}


def test_ranges_of_another_model_are_refused(piped: ExportResult, tiny_checkpoint: Callable[..., Path], tmp_path: Path):
    other = tiny_checkpoint("bert", "text-classification", tmp_path / "other")
    calibration = CalibrationPlan(ranges=piped.path / FILE)
    with pytest.raises(CalibrationError, match="of another model"):
        export(ExportPlan(str(other), tmp_path / "bundle", precisions=("int8",), calibration=calibration))
    assert not (tmp_path / "bundle").exists()


def test_without_texts_bvx_takes_its_own_and_says_what_that_costs(checkpoint: Path, tmp_path: Path):
    watched = Silent()
    calibration = CalibrationPlan(samples=40)
    plan = ExportPlan(str(checkpoint), tmp_path / "bundle", precisions=("int8",), calibration=calibration)
    info = export(plan, watched).manifest.calibration
    assert info is not None and info.source == "builtin" and info.samples == 40
    (warning,) = watched.warnings
    assert "--calibrate" in warning and "loses more accuracy" in warning


def test_a_checkpoint_without_a_tokenizer_cannot_be_calibrated(tmp_path: Path):
    plan = ExportPlan("any", tmp_path / "bundle", precisions=("int8",))
    checkpoint = SimpleNamespace(tokenizer=None)
    with pytest.raises(CalibrationError, match="no tokenizer"):
        quantise(plan, checkpoint, None, tmp_path, Silent())  # type: ignore[arg-type]


def test_texts_that_cannot_be_read_leave_nothing_behind(checkpoint: Path, tmp_path: Path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    plan = ExportPlan(str(checkpoint), tmp_path / "bundle", precisions=("int8",))
    for texts, words in ((str(empty), "no text"), (str(tmp_path / "gone.txt"), "no file"), ("-", "no standard input")):
        with pytest.raises(CalibrationError, match=words):
            export(replace(plan, calibration=CalibrationPlan(texts=texts)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt"]


@pytest.mark.parametrize(
    ("system", "features", "reduced"),
    [
        ("Linux x86_64", "avx2", True),
        ("Linux x86_64", "avx2 avx512f", True),
        ("Linux x86_64", "avx2 avx512f vnni", False),
        ("Linux aarch64", "neon dotprod", False),
        ("Darwin arm64", "neon", False),
    ],
)
def test_weights_are_reduced_where_the_processor_needs_it(system, features, reduced):
    machine = {"system": system, "features": features}
    assert is_reduced(None, machine) is reduced
    assert is_reduced(True, machine) is True and is_reduced(False, machine) is False
