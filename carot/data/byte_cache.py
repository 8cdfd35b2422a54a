"""Values that are costly to load, kept up to a number of bytes and shared by threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass
class _Entry(Generic[Value]):
    bytes: int
    loaded: bool = False
    value: Future[Value] = field(default_factory=Future)


class ByteCache(Generic[Key, Value]):
    """Drops what was used least recently so that all it holds or is loading fits into `limit`.

    A value that is larger than that is held alone.

    Args:
        size: bytes that a value takes.

    Attributes:
        loads: how often something was loaded.
    """

    def __init__(self, limit: int, size: Callable[[Value], int]) -> None:
        self.limit = limit
        self.loads = 0
        self._size = size
        self._entries: OrderedDict[Key, _Entry[Value]] = OrderedDict()
        self._changed = Condition()

    @property
    def held(self) -> int:
        """Bytes that are held or being loaded."""
        with self._changed:
            return sum(entry.bytes for entry in self._entries.values())

    def get(self, key: Key, load: Callable[[], Value], expected: int) -> Value:
        """The value of `key`, loaded once however many threads ask for it at a time.

        Args:
            expected: bytes that it will take, as far as is known.

        Raises:
            Exception: whatever `load` raises; the next call loads again.
        """
        with self._changed:
            while (entry := self._entries.get(key)) is None and not self._make_room(expected):
                self._changed.wait()
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = _Entry(expected)
                self.loads += 1
            self._entries.move_to_end(key)
        if mine:
            self._load(key, entry, load)
        return entry.value.result()

    def _load(self, key: Key, entry: _Entry[Value], load: Callable[[], Value]) -> None:
        try:
            value = load()
        except BaseException as error:  # noqa: BLE001  # it is raised by `result`, in every thread
            entry.value.set_exception(error)
            with self._changed:
                del self._entries[key]
                self._changed.notify_all()
            return
        entry.value.set_result(value)
        with self._changed:
            entry.bytes, entry.loaded = self._size(value), True
            self._make_room(0, keep=entry)
            self._changed.notify_all()

    def _make_room(self, needed: int, keep: _Entry[Value] | None = None) -> bool:
        """Drop what has to go; False when only a load under way would give enough room."""
        total = sum(entry.bytes for entry in self._entries.values()) + needed
        for key, entry in list(self._entries.items()):
            if total <= self.limit:
                break
            if entry.loaded and entry is not keep:
                del self._entries[key]
                total -= entry.bytes
        return total <= self.limit or not self._entries
