"""Threads that each have a confined child process of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from carot.data.decoding.child_process import Child

C = TypeVar("C", bound=Child)
T = TypeVar("T")


class Children(Generic[C]):
    """A pool that starts threads and their children as work comes.

    The threads live on: to the kernel, a child's parent is the thread that started it.

    Args:
        make: a child that has not started.
        count: how many may be at work at the same time.
        name: of the threads.
    """

    def __init__(self, make: Callable[[], C], count: int, name: str) -> None:
        self.count = count
        self._make = make
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._children: list[C] = []
        self._closed = False

    def submit(self, work: Callable[[Callable[[], C]], T]) -> Future[T]:
        """Call `work` in one of the threads, with what gives that thread's child."""
        return self._pool.submit(work, self._own)

    def pids(self) -> list[int]:
        """The processes that are there."""
        with self._lock:
            return [pid for child in self._children if (pid := child.pid) is not None]

    def close(self) -> None:
        """End children and threads, also those at work."""
        with self._lock:
            self._closed = True
            children = list(self._children)
        for child in children:
            child.retire()
        self._pool.shutdown(cancel_futures=True)
        for child in children:
            child.close()

    def _own(self) -> C:
        mine: C | None = getattr(self._mine, "child", None)
        if mine is None:
            mine = self._mine.child = self._make()
            with self._lock:
                self._children.append(mine)
                if self._closed:
                    mine.retire()
        return mine
