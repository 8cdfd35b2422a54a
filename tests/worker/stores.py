"""Artifact stores over one that works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from store.artifacts import ArtifactStore
from store.artifacts.base import Blob, Reserve
from store.errors import NoSpace


class Over:
    """A store that does what the one below does."""

    def __init__(self, inner: ArtifactStore) -> None:
        self.inner = inner
        self.shares = inner.shares

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class FullDisk(Over):
    """On a disk without space."""

    def put(self, content: object, reserve: object = None) -> None:
        raise NoSpace("no space left to store an artifact")


class Keeping(Over):
    """Remembers all that was ever put into it."""

    def __init__(self, inner: ArtifactStore) -> None:
        super().__init__(inner)
        self.kept: list[bytes] = []

    def put(self, content: Iterable[bytes], reserve: Reserve | None = None) -> Blob:
        self.kept.append(b"".join(content))
        return self.inner.put([self.kept[-1]], reserve)


class Counting(Over):
    """Counts how often each artifact is read."""

    def __init__(self, inner: ArtifactStore) -> None:
        super().__init__(inner)
        self.opened: Counter[str] = Counter()

    def open(self, key: str, *arguments: Any) -> Iterator[bytes]:
        self.opened[key] += 1
        return self.inner.open(key, *arguments)
