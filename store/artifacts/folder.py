"""Blobs as files of a folder, named by their SHA-256; the same bytes are stored once."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from store.artifacts.base import (
    CHUNK_BYTES,
    Blob,
    Readable,
    Reserve,
    Sum,
    bounds,
    checked,
    chunked,
    saying_no_space,
)
from store.errors import ArtifactMissing

KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")
TEMPORARY = "aside"


class FolderBlobs:
    """Written under a temporary name, flushed, then renamed: a file under its final name is whole.

    Args:
        root: made when it is not there.
    """

    shares = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._aside = root / TEMPORARY

    def put(self, content: Iterable[bytes] | Readable, reserve: Reserve | None = None) -> Blob:
        """See `ArtifactStore.put`."""
        with saying_no_space("an artifact"):
            self._aside.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._aside)
            written = Path(name)
            try:
                seen = Sum()
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    for chunk in chunked(content):
                        _write_all(file.fileno(), chunk)
                        seen.add(chunk)
                    os.fsync(file.fileno())
                key = f"{seen.sha256[:2]}/{seen.sha256}"
                if reserve is not None:
                    reserve(key)
                final = self._root / key
                final.parent.mkdir(exist_ok=True)
                # Replaces an equal file, if there is one, and makes it young again.
                written.replace(final)
                _flush_folder(final.parent)
            finally:
                written.unlink(missing_ok=True)
        return Blob(seen.sha256, seen.size, key)

    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `ArtifactStore.open`."""
        size = self.size(key)
        first, stop = bounds(size, start, end)
        whole = (first, stop) == (0, size)
        return checked(self._read(key, first, stop), key, key[3:], stop - first, whole=whole)

    def size(self, key: str) -> int:
        """See `ArtifactStore.size`."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{key}: no such file in the artifact folder") from error

    def exists(self, key: str) -> bool:
        """See `ArtifactStore.exists`."""
        return self._path(key).exists()

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        if is_temporary(key):
            (self._aside / Path(key).name).unlink(missing_ok=True)
        else:
            self._path(key).unlink(missing_ok=True)

    def abandoned(self, seconds: float) -> list[str]:
        """See `ArtifactStore.abandoned`."""
        before = time.time() - seconds
        found = []
        for path in self._root.glob("*/*"):
            key = path.relative_to(self._root).as_posix()
            try:
                old = path.stat().st_mtime < before
            except FileNotFoundError:  # somebody finished or deleted it meanwhile
                continue
            if old and (KEY.fullmatch(key) or path.parent == self._aside):
                found.append(key)
        return found

    def _path(self, key: str) -> Path:
        if not KEY.fullmatch(key):
            raise ArtifactMissing(f"{key[:100]!r} is no key of this store")
        return self._root / key

    def _read(self, key: str, start: int, end: int) -> Iterator[bytes]:
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                while start < end and (piece := file.read(min(CHUNK_BYTES, end - start))):
                    start += len(piece)
                    yield piece
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{key}: no such file in the artifact folder") from error


def is_temporary(name: str) -> bool:
    """Whether a name that `FolderBlobs.abandoned` gave is that of a file not yet whole."""
    return name.startswith(f"{TEMPORARY}/")


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
