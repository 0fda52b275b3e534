"""The sentences that come with bvx."""

from __future__ import annotations

from bvx.calibration.texts import builtin_texts


def test_the_built_in_texts_are_many_different_and_of_many_lengths():
    texts = builtin_texts()
    assert texts is builtin_texts() and len(texts) >= 100 and len(set(texts)) == len(texts)
    words = sorted(len(text.split()) for text in texts)
    assert words[0] == 1 and words[-1] > 50
    assert any(not text.isascii() for text in texts) and any("?" in text for text in texts)
    assert all(text == text.strip() and "\n" not in text for text in texts)
