"""Signals while a bundle is being written: each one is heard, but not in the middle of cleaning up."""

from __future__ import annotations

import signal

import pytest

from bvx.exporter.interrupts import Interrupts


def send(number: int) -> None:
    # Not os.kill: another thread of the process may take that, and the main one hears of it when it likes.
    signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["INT", "TERM"]
)
def test_a_second_signal_is_heard_where_the_first_was_swallowed(number: int, raised: type[BaseException]) -> None:
    with Interrupts() as interrupts:
        interrupts.allow()
        for _ in range(2):
            with pytest.raises(raised):
                send(number)


def test_a_signal_during_the_cleaning_up_waits_until_it_is_done() -> None:
    cleaned = False
    with pytest.raises(KeyboardInterrupt), Interrupts() as interrupts:
        interrupts.allow()
        interrupts.refuse()
        send(signal.SIGINT)
        cleaned = True
    assert cleaned


def test_a_signal_before_the_work_is_heard_when_the_work_begins() -> None:
    with Interrupts() as interrupts:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.allow()


def test_the_handlers_are_what_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupts():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
