"""Texts in turns: who is far too slow leaves the others their time, and who dies takes nothing along."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bvx.exporter.bench.budget import Budget
from bvx.exporter.bench.contenders import Contender
from bvx.exporter.bench.crowd import measure_texts
from bvx.exporter.bench.measurements import Measurements
from bvx.exporter.bench.plan import BenchPlan
from bvx.exporter.bench.worker import ToolFailed
from bvx.exporter.progress import Silent

TEXTS = tuple(f"text {number}" for number in range(20))


class Reader:
    def __init__(self, name, pace, dies=False):
        self.contender = Contender(name, "m", name, "fp32", 1, {"tool": name})
        self.facts, self.pace, self.dies, self.asked = {"reads": True}, pace, dies, []

    def ask(self, do, texts, batch):
        self.asked.append(len(texts))
        if self.dies:
            raise ToolFailed("it died")
        return {"whole": self.pace * len(texts), "tokenise": 1.0, "tokens": 3 * len(texts)}


@pytest.fixture
def found():
    return Measurements(BenchPlan((), texts=TEXTS))


def measure(found, readers, minutes):
    progress = Silent()
    measure_texts(found, readers, Budget(minutes, [(1, 16)], len(readers)), progress)
    return {row["contender"]: row for row in found.texts}, progress.warnings


def test_everybody_reads_all_texts_after_a_few(found):
    readers = [Reader("a", 1.0), Reader("b", 2.0), SimpleNamespace(facts={"reads": False})]
    rows, warnings = measure(found, readers, 0)
    assert not warnings and readers[0].asked == [8, 20, 20, 20, 20, 20]
    assert rows["b"]["milliseconds"] == 40.0 and rows["b"]["texts_per_second"] == pytest.approx(500)
    assert rows["a"]["tokens"] == 60 and rows["a"]["padded"] is None


def test_where_time_is_limited_the_slow_do_not_take_the_others_time(found):
    readers = [Reader("a", 1.0), Reader("b", 1.1), Reader("slow", 50.0)]
    rows, (warning,) = measure(found, readers, 5)
    assert set(rows) == {"a", "b"} and readers[2].asked == [8] and "slow is too slow" in warning


def test_without_a_limit_the_slow_are_measured_like_the_others(found):
    rows, warnings = measure(found, [Reader("a", 1.0), Reader("b", 1.1), Reader("slow", 50.0)], 0)
    assert "slow" in rows and not warnings


def test_a_reader_that_dies_is_left_out_with_its_words(found):
    rows, (warning,) = measure(found, [Reader("a", 1.0), Reader("b", 1.0, dies=True)], 5)
    assert set(rows) == {"a"} and "it died" in warning
