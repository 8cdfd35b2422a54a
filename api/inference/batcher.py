"""Collects what waits for one model into batches. Independent of models.

A request takes a ticket for each of its items before they are there: while they are decoded, their
places are kept, and the batcher knows that company is on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from enum import Enum
from typing import Generic, TypeVar

from api.inference.model_thread import Busy, ModelOwner

T = TypeVar("T")
R = TypeVar("R")


class DeadlinePassed(Exception):
    """A request's time was over before its answer was there."""


class _State(Enum):
    COMING = "coming"
    WAITING = "waiting"
    LEFT = "left"


class Ticket(Generic[T, R]):
    """One item's place.

    Attributes:
        future: the item's result; cancelled when nobody wants it any more.
        deadline: when it is wanted at the latest, by `time.monotonic`.
        since: when its item was put.
    """

    def __init__(self, batcher: Batcher[T, R], deadline: float) -> None:
        self.future: Future[R] = Future()
        self.item: T | None = None
        self.since = 0.0
        self.state = _State.COMING
        self._batcher = batcher
        self.deadline = deadline

    def wanted(self) -> bool:
        """Whether anybody still waits for it, in time. If it is late, that is its result."""
        if self.state is _State.LEFT:
            return False
        if time.monotonic() < self.deadline:
            return True
        self.fail(DeadlinePassed())
        return False

    def put(self, item: T) -> None:
        """The item is there; from now on it waits for its batch."""
        if not self._batcher.accept(self, item):
            self.fail(Busy())

    def settle(self, result: R) -> None:
        """It needs no batch: this is its result."""
        self._batcher.leave(self)
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self._batcher.leave(self)
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def drop(self) -> None:
        """Drop an item that is no longer wanted, unless it is in a batch already."""
        self._batcher.leave(self)
        self.future.cancel()


class Batcher(Generic[T, R]):
    """The queue of one model, whose batches the owner of the models runs.

    A batch begins as soon as nothing more is on its way, or it is full, or its first item has
    waited long enough. So an item that is alone never waits for company that does not come.

    Args:
        run: items to as many results, in order.
        batch: most items in one call; asked once there are any.
        wait_seconds: the seconds that the last batch took to how long the first item of the next
            one waits for those that are on their way; asked once there are any.
        capacity: most items on their way or waiting; beyond it `tickets` raises `Busy`.
        on_wait: told for each item how many seconds it has waited when its batch begins.
    """

    def __init__(
        self,
        owner: ModelOwner,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        batch: Callable[[], int],
        wait_seconds: Callable[[float], float],
        capacity: int,
        on_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._owner = owner
        self._run = run
        self._batch = batch
        self._wait_seconds = wait_seconds
        self._capacity = capacity
        self._on_wait = on_wait
        self._took = 0.0
        self._coming = 0
        self._waiting: dict[Ticket[T, R], None] = {}

    def tickets(self, count: int, deadline: float = float("inf")) -> list[Ticket[T, R]]:
        """Places for `count` items, or for none.

        Args:
            deadline: when their results are wanted at the latest, by `time.monotonic`.

        Raises:
            Busy: there is no room for them, or the owner is closed.
        """
        with self._owner.changed:
            if self._owner.closed or self.pending + count > self._capacity:
                raise Busy
            self._coming += count
        return [Ticket(self, deadline) for _ in range(count)]

    @property
    def pending(self) -> int:
        """Items on their way or waiting."""
        return self._coming + len(self._waiting)

    def accept(self, ticket: Ticket[T, R], item: T) -> bool:
        """Queue an item, unless its ticket was dropped. False when the owner is closed."""
        with self._owner.changed:
            if self._owner.closed:
                return False
            if ticket.state is _State.COMING:
                ticket.item, ticket.since = item, time.monotonic()
                ticket.state = _State.WAITING
                self._coming -= 1
                self._waiting[ticket] = None
                if len(self._waiting) == 1:
                    self._owner.enlist(self)
                elif self._coming == 0 or len(self._waiting) >= self._batch():
                    self._owner.changed.notify()  # which waits for more of them
            return True

    def leave(self, ticket: Ticket[T, R]) -> None:
        """Give a ticket's place away."""
        with self._owner.changed:
            if ticket.state is _State.COMING:
                self._coming -= 1
                self._owner.changed.notify()  # perhaps the others waited for this one
            elif ticket.state is _State.WAITING:
                del self._waiting[ticket]
            ticket.state = _State.LEFT

    def due(self) -> float | None:
        if not self._waiting:
            return None
        if self._coming == 0 or len(self._waiting) >= self._batch():
            return 0.0
        return next(iter(self._waiting)).since + self._wait_seconds(self._took)

    def take(self) -> Callable[[], None]:
        now = time.monotonic()
        most = self._batch()
        live: list[Ticket[T, R]] = []
        late: list[Ticket[T, R]] = []
        for ticket in list(self._waiting):
            if len(live) == most:
                break
            del self._waiting[ticket]
            ticket.state = _State.LEFT
            # From here on it can no longer be cancelled.
            if ticket.future.set_running_or_notify_cancel():
                (live if now < ticket.deadline else late).append(ticket)
        return lambda: self._pass(live, late, now)

    def _pass(self, live: list[Ticket[T, R]], late: list[Ticket[T, R]], now: float) -> None:
        for ticket in late:
            ticket.future.set_exception(DeadlinePassed())
        if not live:
            return
        for ticket in live:
            self._on_wait(now - ticket.since)
        began = time.monotonic()
        try:
            results = self._run([ticket.item for ticket in live])  # type: ignore[misc]
            self._took = time.monotonic() - began
        # Whatever the model raises belongs to the requests, not to this thread.
        except Exception as error:  # noqa: BLE001
            for ticket in live:
                ticket.future.set_exception(error)
        else:
            for ticket, result in zip(live, results, strict=True):
                ticket.future.set_result(result)
