"""Lines and tables: within the width that there is, and without what a terminal would obey."""

from __future__ import annotations

import pytest

from bvx.exporter.layout import Table, Verbatim, lay_out, make_visible, shorten

FACTS = Table("", (), (("short", "one two three four five six seven eight nine ten"), ("longer", "a b")))
PARITY = Table("Parity", ("output", "largest", "worst case"), (("logits", "1.0e-06", "pairs of texts, padded left"),))


def lines(*view, width=None):
    return list(lay_out(view, width))


def test_without_a_width_nothing_is_broken():
    assert lines(FACTS) == ["short   one two three four five six seven eight nine ten", "longer  a b"]


def test_the_widest_column_is_broken_between_words():
    assert lines(FACTS, width=30) == [
        "short   one two three four",
        "        five six seven eight",
        "        nine ten",
        "longer  a b",
    ]


def test_two_wide_columns_share_what_there_is():
    wide = Table("", (), (("a b c d e f g h i j", "k l m n o p q r s t"),))
    assert lines(wide, width=22) == ["a b c d e   k l m n o", "f g h i j   p q r s t"]


def test_rows_below_a_title_are_indented_within_the_width():
    shown = lines(PARITY, width=36)
    assert shown[:3] == ["", "Parity", "  output  largest  worst case"]
    assert all(len(line) <= 36 for line in shown)


def test_a_table_of_too_many_columns_becomes_a_list_with_their_names():
    assert lines(PARITY, width=24) == [
        "",
        "Parity",
        "  logits",
        "    largest: 1.0e-06",
        "    worst case: pairs of",
        "    texts, padded left",
    ]


@pytest.mark.parametrize("width", [20, 33, 47, 80])
def test_whatever_the_width_no_word_is_lost(width):
    for table in (FACTS, PARITY):
        words = [word for row in (table.columns, *table.rows) for cell in row[1:] for word in cell.split()]
        assert set(words) <= set(" ".join(lines(table, width=width)).replace(":", " ").split()) | {"output"}


def test_sentences_are_broken_and_what_is_to_be_copied_is_not():
    sentence = "Parity FAILED: do not serve this bundle."
    assert lines(sentence, width=25) == ["Parity FAILED: do not", "serve this bundle."]
    assert lines(Verbatim(sentence), width=25) == [sentence]


def test_a_word_longer_than_the_width_stays_whole():
    path = "/a/path/that/is/longer/than/the/terminal"
    assert lines(Table("", (), (("file", path),)), width=20) == ["file", f"  {path}"]


def test_an_empty_table_is_its_title():
    assert lines(Table("Nothing to mend.", (), ()), width=40) == ["", "Nothing to mend."]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🙂", "plain é 漢字 🙂"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31mred", "\\x9b31mred"),
        ("ring\x07\x7f", "ring\\x07\\x7f"),
        ("two\nlines\r\ttab", "two\\x0alines\\x0d\\x09tab"),
        ("abc\u202ecba\u2066", "abc\\u202ecba\\u2066"),
        ("family 👩\u200d👩\u200d👧", "family 👩\u200d👩\u200d👧"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(text, shown):
    assert make_visible(text) == shown
    assert lines(text) == lines(Verbatim(text)) == lines(Table("", (), ((text,),))) == [shown]


def test_a_long_text_is_cut_and_is_one_line():
    assert shorten("a\n  b") == "a b"
    assert len(shorten("word " * 100)) == 70
