"""Artifact stores over one that works."""

from __future__ import annotations

from collections.abc import Iterable

from store.artifacts import ArtifactStore
from store.artifacts.base import Blob, Reserve
from store.errors import NoSpace


class FullDisk:
    """A store on a disk without space, over one that works."""

    def __init__(self, inner: ArtifactStore) -> None:
        self._inner = inner
        self.shares = inner.shares

    def put(self, content: object, reserve: object = None) -> None:
        raise NoSpace("no space left to store an artifact")

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class Keeping:
    """A store that remembers all that was ever put into it."""

    def __init__(self, inner: ArtifactStore) -> None:
        self._inner = inner
        self.kept: list[bytes] = []
        self.shares = inner.shares

    def put(self, content: Iterable[bytes], reserve: Reserve | None = None) -> Blob:
        self.kept.append(b"".join(content))
        return self._inner.put([self.kept[-1]], reserve)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)
