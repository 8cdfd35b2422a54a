"""The thread that owns the models."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import wait

import pytest

from api.inference.batcher import Batcher, Busy


class Recorder:
    """Doubles numbers, remembers the batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[tuple[Hashable, list[int]]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def __call__(self, key: Hashable, items: Sequence[int]) -> list[int]:
        self.entered.set()
        assert self.gate.wait(10)
        self.threads.add(threading.current_thread().name)
        self.batches.append((key, list(items)))
        if -1 in items:
            raise ValueError("no negatives")
        return [2 * item for item in items]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def batcher(recorder: Recorder) -> Iterator[Batcher[int, int]]:
    batcher: Batcher[int, int] = Batcher(recorder, batch=4, wait_seconds=0.02, capacity=10)
    yield batcher
    recorder.gate.set()
    batcher.close()


def hold(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    """Occupy the thread, so that what follows has to queue."""
    recorder.gate.clear()
    recorder.entered.clear()
    batcher.submit("hold", [0])
    assert recorder.entered.wait(10)


def test_results_come_back_in_order(batcher: Batcher[int, int]) -> None:
    futures = batcher.submit("a", [1, 2, 3])
    assert [f.result(10) for f in futures] == [2, 4, 6]


def test_one_thread_runs_everything(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    wait([f for i in range(20) for f in [batcher.submit("a", [i])[0]] if f.result(10) == 2 * i])
    assert recorder.threads == {"model-owner"}


def test_waiting_items_of_one_key_share_a_batch(
    recorder: Recorder, batcher: Batcher[int, int]
) -> None:
    hold(recorder, batcher)
    futures = (
        batcher.submit("a", [1]) + batcher.submit("b", [9]) + batcher.submit("a", [2, 3, 4, 5])
    )
    recorder.gate.set()
    assert [f.result(10) for f in futures] == [2, 18, 4, 6, 8, 10]
    assert recorder.batches[1:] == [("a", [1, 2, 3, 4]), ("b", [9]), ("a", [5])]


def test_a_full_queue_takes_all_or_nothing(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    hold(recorder, batcher)
    batcher.submit("a", list(range(8)))
    with pytest.raises(Busy):
        batcher.submit("a", [1, 2, 3])
    last = batcher.submit("a", [1, 2])
    recorder.gate.set()
    assert [f.result(10) for f in last] == [2, 4]


def test_items_whose_request_has_gone_are_not_run(
    recorder: Recorder, batcher: Batcher[int, int]
) -> None:
    hold(recorder, batcher)
    gone, stays = batcher.submit("a", [1, 2])
    assert gone.cancel()
    recorder.gate.set()
    assert stays.result(10) == 4
    assert ("a", [2]) in recorder.batches


def test_a_failing_batch_fails_its_items_only(batcher: Batcher[int, int]) -> None:
    (bad,) = batcher.submit("a", [-1])
    with pytest.raises(ValueError, match="no negatives"):
        bad.result(10)
    assert batcher.submit("a", [1])[0].result(10) == 2


def test_closing_finishes_what_waits(recorder: Recorder, batcher: Batcher[int, int]) -> None:
    hold(recorder, batcher)
    waiting = batcher.submit("a", [1, 2])
    recorder.gate.set()
    batcher.close()
    assert [f.result(0) for f in waiting] == [2, 4]
    with pytest.raises(Busy):
        batcher.submit("a", [1])
