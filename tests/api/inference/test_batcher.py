"""The thread that owns the models, and the queues that it takes turns with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future

import pytest

from api.inference.batcher import Batcher, DeadlinePassed, Ticket
from api.inference.model_thread import Busy, ModelOwner

LONG = 60.0


class Recorder:
    """Doubles numbers, remembers the batches, and can be held up."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def model(self, name: str) -> Callable[[Sequence[int]], list[int]]:
        def run(items: Sequence[int]) -> list[int]:
            self.threads.add(threading.current_thread().name)
            self.batches.append((name, list(items)))
            if -1 in items:
                raise ValueError("no negatives")
            return [2 * item for item in items]

        return run

    def hold(self, owner: ModelOwner) -> None:
        """Occupy the thread, so that what follows has to queue."""
        self.gate.clear()
        self.entered.clear()

        def wait() -> None:
            self.entered.set()
            assert self.gate.wait(10)

        owner.call(wait)
        assert self.entered.wait(10)


@pytest.fixture
def prediction_log() -> Recorder:
    return Recorder()


@pytest.fixture
def owner(prediction_log: Recorder) -> Iterator[ModelOwner]:
    owner = ModelOwner()
    yield owner
    prediction_log.gate.set()
    owner.close()


def queue(
    owner: ModelOwner, prediction_log: Recorder, name: str = "a", wait_seconds: float = LONG
) -> Batcher[int, int]:
    return Batcher(
        owner,
        prediction_log.model(name),
        batch=lambda: 4,
        wait_seconds=lambda _: wait_seconds,
        capacity=10,
    )


@pytest.fixture
def batcher(owner: ModelOwner, prediction_log: Recorder) -> Batcher[int, int]:
    return queue(owner, prediction_log)


def submit(batcher: Batcher[int, int], *items: int, deadline: float = LONG) -> list[Future[int]]:
    tickets = batcher.tickets(len(items), time.monotonic() + deadline)
    for ticket, item in zip(tickets, items, strict=True):
        ticket.put(item)
    return [ticket.future for ticket in tickets]


def test_results_come_back_in_order(batcher: Batcher[int, int]) -> None:
    assert [f.result(10) for f in submit(batcher, 1, 2, 3)] == [2, 4, 6]


def test_one_thread_runs_everything(owner: ModelOwner, prediction_log: Recorder) -> None:
    queues = [queue(owner, prediction_log, name) for name in "ab"]
    for i in range(20):
        assert submit(queues[i % 2], i)[0].result(10) == 2 * i
    assert prediction_log.threads == {"model-owner"}


def test_items_that_wait_share_a_batch(
    owner: ModelOwner, prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    prediction_log.hold(owner)
    futures = submit(batcher, 1) + submit(batcher, 2, 3, 4, 5)
    prediction_log.gate.set()
    assert [f.result(10) for f in futures] == [2, 4, 6, 8, 10]
    assert prediction_log.batches == [("a", [1, 2, 3, 4]), ("a", [5])]


def test_an_item_alone_waits_for_nobody(batcher: Batcher[int, int]) -> None:
    """With `LONG` to wait, the test itself would time out."""
    assert submit(batcher, 1)[0].result(10) == 2


def test_a_batch_waits_for_those_on_their_way(
    prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    first, second = batcher.tickets(2)
    first.put(1)
    with pytest.raises(TimeoutError):
        first.future.result(0.05)
    second.put(2)
    assert first.future.result(10) == 2
    assert prediction_log.batches == [("a", [1, 2])]


@pytest.mark.parametrize("leave", [Ticket.drop, lambda ticket: ticket.settle(7)])
def test_a_batch_does_not_wait_for_those_that_left(
    leave: Callable[[Ticket[int, int]], None], batcher: Batcher[int, int]
) -> None:
    first, second = batcher.tickets(2)
    first.put(1)
    leave(second)
    assert first.future.result(10) == 2


def test_a_batch_waits_no_longer_than_it_may(owner: ModelOwner, prediction_log: Recorder) -> None:
    first, _ = queue(owner, prediction_log, wait_seconds=0.01).tickets(2)
    first.put(1)
    assert first.future.result(10) == 2


def test_how_long_a_batch_waits_may_depend_on_what_the_last_one_took(owner: ModelOwner) -> None:
    def run(items: Sequence[float]) -> Sequence[float]:
        time.sleep(items[0])
        return items

    told: list[float] = []

    def wait_seconds(took: float) -> float:
        told.append(took)
        return 0.01

    batcher = Batcher(owner, run, batch=lambda: 4, wait_seconds=wait_seconds, capacity=10)
    for seconds in (0.2, 0.0):
        first, other = batcher.tickets(2)
        first.put(seconds)
        first.future.result(10)
        other.drop()
    assert told[0] == 0.0
    assert 0.2 <= told[-1] < 10


def test_a_full_batch_waits_for_nobody(
    prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    tickets = batcher.tickets(5)
    for i in range(4):
        tickets[i].put(i)
    assert tickets[3].future.result(10) == 6


def test_models_take_turns(owner: ModelOwner, prediction_log: Recorder) -> None:
    busy, other = queue(owner, prediction_log, "busy"), queue(owner, prediction_log, "other")
    prediction_log.hold(owner)
    futures = submit(busy, *range(10)) + submit(other, 1)
    prediction_log.gate.set()
    assert all(f.result(10) is not None for f in futures)
    assert [name for name, _ in prediction_log.batches] == ["busy", "other", "busy", "busy"]


def test_calls_take_turns_as_well(owner: ModelOwner, prediction_log: Recorder) -> None:
    busy = queue(owner, prediction_log)
    prediction_log.hold(owner)
    futures = submit(busy, *range(10))
    called = owner.call(lambda: len(prediction_log.batches))
    prediction_log.gate.set()
    assert called.result(10) == 1
    assert futures[-1].result(10) == 18
    failing = owner.call(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(10)


def test_a_full_queue_takes_all_or_nothing(
    owner: ModelOwner, prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    prediction_log.hold(owner)
    submit(batcher, *range(5))
    coming = batcher.tickets(3)
    with pytest.raises(Busy):
        batcher.tickets(3)
    assert batcher.pending == 8
    last = submit(batcher, 1, 2)
    for ticket in coming:
        ticket.drop()
    assert batcher.pending == 7
    prediction_log.gate.set()
    assert [f.result(10) for f in last] == [2, 4]
    assert batcher.pending == 0


def test_items_whose_request_has_gone_are_not_run(
    owner: ModelOwner, prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    prediction_log.hold(owner)
    gone, late, stays = batcher.tickets(3)
    gone.put(1)
    gone.drop()
    late.drop()
    late.put(3)
    stays.put(2)
    prediction_log.gate.set()
    assert stays.future.result(10) == 4
    assert prediction_log.batches == [("a", [2])]
    with pytest.raises(CancelledError):
        gone.future.result(0)


def test_items_whose_deadline_has_passed_are_not_run(
    owner: ModelOwner, prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    prediction_log.hold(owner)
    (late,) = submit(batcher, 1, deadline=0.01)
    (stays,) = submit(batcher, 2)
    time.sleep(0.02)  # nothing happens while the deadline passes
    prediction_log.gate.set()
    assert stays.result(10) == 4
    with pytest.raises(DeadlinePassed):
        late.result(10)
    assert prediction_log.batches == [("a", [2])]


def test_a_ticket_says_whether_it_is_wanted(batcher: Batcher[int, int]) -> None:
    wanted, dropped = batcher.tickets(2, time.monotonic() + LONG)
    (late,) = batcher.tickets(1, time.monotonic() - 1)
    dropped.drop()
    assert wanted.wanted()
    assert not dropped.wanted()
    assert not late.wanted()
    with pytest.raises(DeadlinePassed):
        late.future.result(0)
    assert batcher.pending == 1


def test_a_failing_batch_fails_its_items_only(batcher: Batcher[int, int]) -> None:
    (bad,) = submit(batcher, -1)
    with pytest.raises(ValueError, match="no negatives"):
        bad.result(10)
    assert submit(batcher, 1)[0].result(10) == 2


def test_closing_finishes_what_waits(
    owner: ModelOwner, prediction_log: Recorder, batcher: Batcher[int, int]
) -> None:
    prediction_log.hold(owner)
    (coming,) = batcher.tickets(1)
    waiting = submit(batcher, 1, 2)
    prediction_log.gate.set()
    owner.close()
    assert [f.result(0) for f in waiting] == [2, 4]
    coming.put(3)
    with pytest.raises(Busy):
        coming.future.result(0)
    with pytest.raises(Busy):
        batcher.tickets(1)
    with pytest.raises(Busy):
        owner.call(lambda: None)
