"""What a person reads of accuracy and speed."""

from __future__ import annotations

from bvx.exporter.accuracy_views import view_calibration, view_recommendation, view_tradeoff
from bvx.exporter.layout import lay_out

ACCURACY = {
    "metric": "accuracy", "before": 0.912, "after": 0.911, "low": -0.004, "high": 0.002, "changed": 3,
    "compared": 1000, "unit": "predictions",
}  # fmt: skip
LATENCY = {"batch": 1, "length": 128, "milliseconds": 4.0}


def variant(precision, **facts):
    return {"key": f"{precision}/cpu", "precision": precision, "bytes": 2_000_000, "accuracy": None, **facts}


FP32 = variant("fp32", latency={**LATENCY, "milliseconds": 10.0})
INT8 = variant("int8", latency=LATENCY, accuracy=ACCURACY)
CALIBRATION = {
    "samples": 256, "lines": 9000, "source": "mail.txt", "tokens": 12345, "digest": "ab" * 32, "seed": 7,
    "observer": "mse", "methods": ["bias correction"],
}  # fmt: skip

TRIALS = [
    {"kept": 0, "loss": 0.12, "bytes": 1_000_000, "int8_share": 1.0},
    {"kept": 2, "loss": 0.004, "bytes": 1_300_000, "int8_share": 0.8},
]


def read(view) -> str:
    return "\n".join(lay_out(view))


def test_the_closing_words_say_size_speed_and_what_changed():
    said = read(view_recommendation({"recommended": "int8/cpu", "variants": [FP32, INT8]}))
    assert said == (
        "Recommended: int8/cpu (2.0 MB, 4.0 ms at 1x128, 2.50 times as fast as fp32, accuracy 0.9120 -> 0.9110, "
        "3 of 1,000 predictions changed)"
    )


def test_without_labelled_data_there_is_no_metric_to_name():
    one = {**INT8, "accuracy": {**ACCURACY, "metric": "agreement"}}
    said = read(view_recommendation({"recommended": "int8/cpu", "variants": [FP32, one]}))
    assert said.endswith("fast as fp32, 3 of 1,000 predictions changed)")


def test_fp32_is_not_compared_with_itself_and_nothing_is_recommended_where_nothing_was_compared():
    assert read(view_recommendation({"recommended": "fp32/cpu", "variants": [FP32, INT8]})) == (
        "Recommended: fp32/cpu (2.0 MB, 10.0 ms at 1x128)"
    )
    assert read(view_recommendation({"recommended": "", "variants": [FP32]})) == ""


def test_a_bundle_names_what_it_was_calibrated_on_and_what_that_kept():
    said = read(view_calibration({"calibration": CALIBRATION, "variants": [FP32, INT8], "tradeoff": TRIALS}))
    for part in ("256 of 9000 in mail.txt", "12,345 tokens", "seed 7", "mse", "bias correction", "0.9120", "0.9110"):
        assert part in said
    assert "12.00%" in said and "0.40%" in said and "80%" in said
    assert "-0.0040 to +0.0020" in said and "3 of 1,000 predictions changed" in said


def test_choices_that_keep_more_and_lose_no_less_are_not_shown():
    trials = [*TRIALS, {"kept": 2, "loss": 0.05, "bytes": 9, "int8_share": 0.5}, {**TRIALS[1], "kept": 3}]
    assert view_tradeoff(trials) == view_tradeoff(TRIALS)


def test_a_bundle_that_was_not_calibrated_says_nothing():
    assert read(view_calibration({"calibration": None, "variants": [FP32], "tradeoff": []})) == ""
