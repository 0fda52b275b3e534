"""Which targets a precision goes to when none is named."""

from __future__ import annotations

from bvx.exporter.supported import PRECISIONS, TARGETS, choose_targets


def test_what_the_processor_runs_stays_there():
    assert choose_targets(("fp32",)) == ("cpu",)
    assert choose_targets(()) == ("cpu",)
    assert choose_targets(("no such",)) == ("cpu",)


def test_every_precision_goes_somewhere():
    for precision in PRECISIONS:
        targets = choose_targets(("fp32", precision))
        assert targets[0] == "cpu"
        assert any(precision in TARGETS[target] for target in targets)


def test_a_precision_that_the_processor_cannot_run_needs_no_variant_for_it():
    for precision in PRECISIONS:
        if precision not in TARGETS["cpu"]:
            assert "cpu" not in choose_targets((precision,))
