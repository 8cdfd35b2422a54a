"""The one thread that runs models.

A pass of a model uses every core, or the whole of a GPU, already: two at the same time would only
fight over them, each taking twice as long. So one thread runs whatever is to be run, one piece at
a time, and is fair to those who have something by taking turns: a model with a long queue holds up
another by one pass, not by its queue. Warming a model up is such a piece as well.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, Protocol, TypeVar

R = TypeVar("R")


class Busy(Exception):
    """As many items are waiting as may wait, or nothing is accepted any more."""


class Work(Protocol):
    """Something that the thread takes turns with. Both methods are called under its lock."""

    def due(self) -> float | None:
        """When its next piece should run, by `time.monotonic`; None when it has nothing."""

    def take(self) -> Callable[[], None]:
        """Its next piece, to be run without the lock. It must not raise."""


class ModelOwner:
    """Runs pieces of work in its own thread; the one that has waited longest goes first.

    Attributes:
        changed: the lock of everything that waits here; notified when something came.
        closed: whether it accepts nothing more; to be read under the lock.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.closed = False
        self._waiting: dict[Work, None] = {}  # in the order of their turns
        self._thread = threading.Thread(target=self._loop, name="model-owner", daemon=True)
        self._thread.start()

    def enlist(self, work: Work) -> None:
        """Let it have turns until it has nothing left. To be called under the lock."""
        self._waiting.setdefault(work)
        self.changed.notify()

    def call(self, function: Callable[[], R]) -> Future[R]:
        """Run something once, when it is its turn.

        Raises:
            Busy: closed.
        """
        call = _Call(function)
        with self.changed:
            if self.closed:
                raise Busy
            self.enlist(call)
        return call.future

    def close(self) -> None:
        """Finish what is waiting, then end the thread."""
        with self.changed:
            self.closed = True
            self.changed.notify()
        self._thread.join(timeout=30)

    def _loop(self) -> None:
        while (piece := self._next()) is not None:
            piece()
            del piece  # it may be the last to hold a model

    def _next(self) -> Callable[[], None] | None:
        with self.changed:
            while True:
                piece, soonest = self._turn()
                if piece is not None or self.closed:
                    return piece
                self.changed.wait(None if soonest is None else soonest - time.monotonic())

    def _turn(self) -> tuple[Callable[[], None] | None, float | None]:
        """The piece whose turn it is, or when there will be one.

        A method of its own, so that who waits holds no piece of work, and by it the last model.
        """
        soonest: float | None = None
        now = time.monotonic()
        for work in list(self._waiting):
            due = work.due()
            if due is None:
                del self._waiting[work]
            elif due <= now or self.closed:
                del self._waiting[work]
                self._waiting[work] = None  # behind the others
                return work.take(), None
            else:
                soonest = due if soonest is None else min(soonest, due)
        return None, soonest


class _Call(Generic[R]):
    """A function as work; it runs once."""

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._taken = False
        self.future: Future[R] = Future()

    def due(self) -> float | None:
        return None if self._taken else 0.0

    def take(self) -> Callable[[], None]:
        self._taken = True
        return self._run

    def _run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._function()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
            self.future.set_exception(error)
        else:
            self.future.set_result(result)
