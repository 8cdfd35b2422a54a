"""Database lookups that nearly every request needs, made for many requests at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
MOST_KEPT = 1000


class Lookups(Generic[K, V]):
    """Asks once for all who wait, in a thread of its own, and keeps nothing.

    Whoever comes while a question is under way waits for the next one. So no answer is older than
    its question, as if each had asked alone, and the more there are, the less each of them costs.

    A database that can tell at once whether it has changed is asked in the event loop's thread, and
    what it says is kept until it does.

    Args:
        ask: keys, each of them once, to what is known of them.
        name: of the thread.
        version: something that is another after every change of the database; None where it
            cannot tell.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[K]], Mapping[K, V]],
        name: str,
        version: Callable[[], Hashable] | None = None,
    ) -> None:
        self._ask = ask
        self._version = version
        self._kept_of: Hashable = None
        self._kept: dict[K, V] = {}
        self._lock = threading.Lock()
        self._waiting: dict[K, Future[V | None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def get(self, key: K) -> V | None:
        """What is known of `key`; None where that is nothing. Raises what `ask` raises."""
        if self._version is not None:
            return self._keeping(key, self._version())
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

    def _keeping(self, key: K, version: Hashable) -> V | None:
        # The version is older than the question: what changes in between is asked for again.
        if version != self._kept_of or len(self._kept) >= MOST_KEPT:
            self._kept_of, self._kept = version, {}
        found = self._kept.get(key)
        if found is None:
            found = self._ask([key]).get(key)
            if found is not None:  # whoever makes names up fills no memory
                self._kept[key] = found
        return found

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
