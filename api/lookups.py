"""Questions to the database that nearly every request has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lookups(Generic[K, V]):
    """Asks once for all who wait, in a thread of its own, and keeps nothing.

    Whoever comes while a question is under way waits for the next one. So no answer is older than
    its question, as if each had asked alone, and the more there are, the less each of them costs.

    Args:
        ask: keys, each of them once, to what is known of them.
        name: of the thread.
        at_once: ask in the event loop's thread: for a database that answers sooner than a thread
            wakes up.
    """

    def __init__(
        self, ask: Callable[[Sequence[K]], Mapping[K, V]], name: str, *, at_once: bool = False
    ) -> None:
        self._ask = ask
        self._at_once = at_once
        self._lock = threading.Lock()
        self._waiting: dict[K, Future[V | None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def get(self, key: K) -> V | None:
        """What is known of `key`; None where that is nothing. Raises what `ask` raises."""
        if self._at_once:
            return self._ask([key]).get(key)
        with self._lock:
            first = not self._waiting
            future = self._waiting.setdefault(key, Future())
        if first:
            self._thread.submit(self._answer)
        # Shielded: one who goes away must not take the answer from the others.
        return await asyncio.shield(asyncio.wrap_future(future))

    def close(self) -> None:
        """Answer those who wait, and end the thread."""
        self._thread.shutdown()

    def _answer(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        try:
            known = self._ask([*waiting])
        # Whatever it is, it belongs to those who wait.
        except Exception as error:  # noqa: BLE001
            for future in waiting.values():
                future.set_exception(error)
        else:
            for key, future in waiting.items():
                future.set_result(known.get(key))
