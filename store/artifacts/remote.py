"""Blobs as objects under any URL that fsspec knows: S3, GCS, another machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from store.artifacts.base import (
    CHUNK_BYTES,
    Blob,
    Readable,
    Reserve,
    SealedKey,
    Sum,
    bounds,
    checked,
    chunked,
    saying_no_space,
)
from store.errors import ArtifactMissing


class FsspecBlobs:
    """One object for each blob, under a new name each; the key carries size and sum.

    Args:
        url: `s3://bucket/prefix` and so on. The driver of the protocol must be installed.
    """

    shares = False

    def __init__(self, url: str) -> None:
        import fsspec

        fs, root = fsspec.core.url_to_fs(url)
        self._fs: Any = fs
        self._root = str(root).rstrip("/")

    def put(self, content: Iterable[bytes] | Readable, reserve: Reserve | None = None) -> Blob:
        """See `ArtifactStore.put`."""
        name = SealedKey.new().name
        if reserve is not None:
            reserve(name)
        path = self._path(name)
        seen = Sum()
        try:
            with saying_no_space("an artifact"):
                self._fs.makedirs(self._root, exist_ok=True)
                with self._fs.open(path, "wb", block_size=CHUNK_BYTES * 2) as file:
                    for chunk in chunked(content):
                        seen.add(chunk)
                        file.write(chunk)
        except BaseException:
            # Closing a file of fsspec keeps what was written so far.
            self.delete(name)
            raise
        return Blob(seen.sha256, seen.size, str(SealedKey(name, seen.sha256, seen.size)))

    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `ArtifactStore.open`."""
        sealed = SealedKey.parse(key)
        if not self.exists(key):
            raise ArtifactMissing(f"{key}: no such object")
        first, stop = bounds(sealed.size, start, end)
        whole = (first, stop) == (0, sealed.size)
        pieces = self._read(sealed.name, first, stop)
        return checked(pieces, key, sealed.sha256, stop - first, whole=whole)

    def size(self, key: str) -> int:
        """See `ArtifactStore.size`."""
        try:
            return int(self._fs.size(self._path(SealedKey.parse(key).name)))
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{key}: no such object") from error

    def exists(self, key: str) -> bool:
        """See `ArtifactStore.exists`."""
        return bool(self._fs.exists(self._path(SealedKey.parse(key).name)))

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        path = self._path(SealedKey.parse(key).name)
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def abandoned(self, seconds: float) -> list[str]:
        """See `ArtifactStore.abandoned`."""
        before = SealedKey.name_at(seconds)
        names = [str(path).rpartition("/")[2] for path in self._fs.find(self._root)]
        return [name for name in names if name.startswith("blob_") and name < before]

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        try:
            with self._fs.open(self._path(name), "rb", block_size=CHUNK_BYTES) as file:
                file.seek(start)
                while start < end and (piece := file.read(min(CHUNK_BYTES, end - start))):
                    start += len(piece)
                    yield bytes(piece)
        except FileNotFoundError as error:
            raise ArtifactMissing(f"{name}: no such object") from error
