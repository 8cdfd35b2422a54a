"""One thread that owns the models and runs them on batches of whatever is waiting.

Knows nothing of models: a batch is the items that were submitted under one key.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Busy(Exception):
    """As many items are waiting as may wait."""


@dataclass(frozen=True)
class _Waiting(Generic[T, R]):
    key: Hashable
    item: T
    future: Future[R]
    since: float


class Batcher(Generic[T, R]):
    """Runs `run(key, items)` in its own thread.

    Args:
        run: items of one key to as many results, in order.
        batch: most items in one call.
        wait_seconds: how long the first item of a batch waits for others of its key.
        capacity: most items waiting; beyond it `submit` raises `Busy`.
        on_wait: told for each item how many seconds it has waited when its batch begins.
    """

    def __init__(
        self,
        run: Callable[[Hashable, Sequence[T]], Sequence[R]],
        *,
        batch: int,
        wait_seconds: float,
        capacity: int,
        on_wait: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._run = run
        self._batch = batch
        self._wait_seconds = wait_seconds
        self._capacity = capacity
        self._on_wait = on_wait
        self._queue: deque[_Waiting[T, R]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="model-owner", daemon=True)
        self._thread.start()

    def submit(self, key: Hashable, items: Sequence[T]) -> list[Future[R]]:
        """Queue all of the items, or none.

        Raises:
            Busy: there is no room for them, or the batcher is closed.
        """
        now = time.monotonic()
        waiting: list[_Waiting[T, R]] = [_Waiting(key, item, Future(), now) for item in items]
        with self._changed:
            if self._closed or len(self._queue) + len(waiting) > self._capacity:
                raise Busy
            self._queue.extend(waiting)
            self._changed.notify()
        return [w.future for w in waiting]

    def close(self) -> None:
        """Finish what is waiting, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=30)

    def _loop(self) -> None:
        while (batch := self._next()) is not None:
            # An item whose request has gone is not worth a place in the batch.
            live = [w for w in batch if w.future.set_running_or_notify_cancel()]
            if not live:
                continue
            now = time.monotonic()
            for w in live:
                self._on_wait(now - w.since)
            try:
                results = self._run(live[0].key, [w.item for w in live])
            # Whatever the model raises belongs to the requests, not to this thread.
            except Exception as error:  # noqa: BLE001
                for w in live:
                    w.future.set_exception(error)
            else:
                for w, result in zip(live, results, strict=True):
                    w.future.set_result(result)

    def _next(self) -> list[_Waiting[T, R]] | None:
        with self._changed:
            while not self._queue:
                if self._closed:
                    return None
                self._changed.wait()
            key = self._queue[0].key
            deadline = time.monotonic() + self._wait_seconds
            while self._count(key) < self._batch and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            taken: list[_Waiting[T, R]] = []
            kept: deque[_Waiting[T, R]] = deque()
            for w in self._queue:
                wanted = w.key == key and len(taken) < self._batch
                (taken if wanted else kept).append(w)
            self._queue = kept
            return taken

    def _count(self, key: Hashable) -> int:
        return sum(w.key == key for w in self._queue)
