"""What is said of a type of 16 bits, where something stayed fp32 and where nothing did."""

from __future__ import annotations

from bvx.exporter.evidence_views import view_evidence

FP16 = {
    "type": "fp16",
    "operators": 111,
    "unobserved": 0,
    "kept": 0,
    "largest": 224.0,
    "largest_at": "layer.2.output.Add",
    "share": 224 / 65504,
}
BF16 = {**FP16, "type": "bf16", "share": 6.6e-37, "loss": 0.0028, "loss_at": "layer.1.Add", "loss_allowed": 0.03125}


def say(**evidence):
    return list(view_evidence({"variants": [{"key": key, "evidence": one} for key, one in evidence.items()]}))


def test_variants_of_which_the_same_is_true_share_a_sentence():
    assert say(a=FP16, b={}, c=FP16) == [
        "a, c: none of 111 operators had to stay fp32; the largest value seen is 224, 0.34 % of what fp16 holds."
    ]


def test_bf16_is_about_digits_and_not_about_range():
    (words,) = say(a=BF16)
    assert "0.28 % of what texts change in it (layer.1.Add), 3.1 % may be" in words and "holds" not in words
    unlooked = {name: value for name, value in BF16.items() if not name.startswith("loss")}
    assert "what rounding costs was not looked at" in say(a=unlooked)[0]


def test_what_stayed_and_what_nobody_saw_is_counted():
    (words,) = say(a={**FP16, "kept": 4, "unobserved": 2, "share": 4.87, "largest": 3.19e5})
    assert words.startswith("a: 4 of 111 operators stayed fp32; 2 were seen on no text; ")
    assert "3.19e+05, 487 % of what fp16 holds" in words
