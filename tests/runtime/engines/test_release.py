"""Nothing of a GPU is freed while in use, and everything at close: with eight threads, and where runs fail between."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from bvx.runtime.engines import open_engine
from bvx.runtime.errors import BvxError

from .conftest import VARIANT
from .test_tensorrt import NOTHING, feeds

FAILING = ("cudaMemcpyAsync", "cudaMalloc", "cudaHostAlloc", "cudaGraphLaunch", "cudaGraphInstantiate")


def open_on(machine):
    return open_engine(machine.engine, machine.bundle.path / VARIANT.file, VARIANT, 1, False)


def lock_calls(cuda):
    """One call at a time, as a driver takes them."""
    turn = threading.RLock()

    def lock(real):
        def locked(*given):
            with turn:
                return real(*given)

        return locked

    for name in dir(type(cuda)):
        if name.startswith("cuda") and name != "cudaError_t" and callable(getattr(cuda, name)):
            setattr(cuda, name, lock(getattr(cuda, name)))


def fail_at(cuda, name, number):
    """Let the call `name` fail for the `number`th time, once."""
    real, calls = getattr(cuda, name), []

    def call(*given):
        calls.append(given)
        return (cuda.cudaError_t(700), None) if len(calls) == number else real(*given)

    setattr(cuda, name, call)


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("name", FAILING)
def test_a_call_that_fails_in_the_middle_leaves_nothing_behind(machine, name, number):
    made = machine()
    engine = open_on(made)
    fail_at(made.cuda, name, number)
    failed = 0
    for seed in range(6):
        arrays = feeds(2 + seed % 2, 8, seed)
        try:
            found = engine.run(arrays)["logits"]
        except BvxError:
            failed += 1
            continue
        np.testing.assert_allclose(found, made.bundle.reference(arrays)["logits"], rtol=1e-6)
    assert failed <= 1
    engine.close()
    assert made.cuda.held == NOTHING


def test_eight_threads_with_failing_runs_between_free_everything_at_close(machine):
    made = machine()
    lock_calls(made.cuda)
    made.cuda._free = lambda kind, address: (made.cuda.blocks[kind].pop(address), (made.cuda.cudaError_t(0),))[1]
    engine = open_on(made)
    fail_at(made.cuda, "cudaMemcpyAsync", 40)
    refused, wrong = [], []

    def work(number):
        for seed in range(6):
            arrays = feeds(1 + number % 4, 4 + seed, 10 * number + seed)
            try:
                found = engine.run(arrays)["logits"]
                np.testing.assert_allclose(found, made.bundle.reference(arrays)["logits"], rtol=1e-6)
            except BvxError as error:
                refused.append(error)
            except BaseException as error:  # noqa: BLE001  it is looked at in the main thread
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and len(refused) == 1
    engine.close()
    assert made.cuda.held == NOTHING


def test_closing_while_threads_run_waits_for_them_and_refuses_the_rest(machine):
    made = machine()
    lock_calls(made.cuda)
    engine = open_on(made)
    begun, wrong, closed = threading.Event(), [], []

    def work(number):
        for seed in range(20):
            begun.set()
            try:
                engine.run(feeds(1 + number % 4, 4 + seed % 3, seed))
            except BvxError as error:
                closed.append("was closed" in str(error))
                return
            except BaseException as error:  # noqa: BLE001  it is looked at in the main thread
                wrong.append(error)

    made.cuda._free = lambda kind, address: (made.cuda.blocks[kind].pop(address), (made.cuda.cudaError_t(0),))[1]
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    begun.wait()
    engine.close()
    for thread in threads:
        thread.join()
    assert not wrong and all(closed)
    assert made.cuda.held == NOTHING
