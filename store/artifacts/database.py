"""Blobs as rows of 4 MiB in the database, so that one database is all that has to be backed up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import DBAPIError

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
)
from store.database import Database
from store.errors import ArtifactMissing, NoSpace
from store.tables import BlobChunk

DISK_FULL = "53100"
"""Postgres' own code for it."""


class DatabaseBlobs:
    """One short transaction for each chunk, so that a slow writer never holds up others.

    A blob is whole once its key is known: the key carries size and sum.
    """

    shares = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, content: Iterable[bytes] | Readable, reserve: Reserve | None = None) -> Blob:
        """See `ArtifactStore.put`."""
        name = SealedKey.new().name
        if reserve is not None:
            reserve(name)
        seen = Sum()
        try:
            with _saying_no_space():
                for seq, chunk in enumerate(chunked(content)):
                    seen.add(chunk)
                    with self._database.session() as session:
                        session.execute(
                            insert(BlobChunk).values(blob_key=name, seq=seq, data=chunk)
                        )
        except BaseException:
            self.delete(name)
            raise
        return Blob(seen.sha256, seen.size, str(SealedKey(name, seen.sha256, seen.size)))

    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See `ArtifactStore.open`."""
        sealed = SealedKey.parse(key)
        if not self.exists(key):
            raise ArtifactMissing(f"{key}: not in the database")
        first, stop = bounds(sealed.size, start, end)
        whole = (first, stop) == (0, sealed.size)
        pieces = self._read(sealed.name, first, stop)
        return checked(pieces, key, sealed.sha256, stop - first, whole=whole)

    def size(self, key: str) -> int:
        """See `ArtifactStore.size`."""
        if not self.exists(key):
            raise ArtifactMissing(f"{key}: not in the database")
        return SealedKey.parse(key).size

    def exists(self, key: str) -> bool:
        """See `ArtifactStore.exists`."""
        sealed = SealedKey.parse(key)
        if sealed.size == 0:
            return True
        last = (sealed.size - 1) // CHUNK_BYTES
        with self._database.reading() as session:
            query = select(BlobChunk.seq).filter_by(blob_key=sealed.name, seq=last)
            return session.scalar(query) is not None

    def delete(self, key: str) -> None:
        """See `ArtifactStore.delete`."""
        name = SealedKey.parse(key).name
        with self._database.session() as session:
            session.execute(delete(BlobChunk).where(BlobChunk.blob_key == name))

    def abandoned(self, seconds: float) -> list[str]:
        """See `ArtifactStore.abandoned`."""
        with self._database.reading() as session:
            # Not only first chunks: a writer may go on for a moment after others were deleted.
            old = BlobChunk.blob_key < SealedKey.name_at(seconds)
            return list(session.scalars(select(BlobChunk.blob_key).where(old).distinct()))

    def _read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        # A query for each chunk: no transaction stays open while a slow client downloads.
        while start < end:
            seq, offset = divmod(start, CHUNK_BYTES)
            with self._database.reading() as session:
                query = select(BlobChunk.data).filter_by(blob_key=name, seq=seq)
                data = session.scalar(query)
            piece = b"" if data is None else bytes(data)[offset : offset + end - start]
            if not piece:
                return
            start += len(piece)
            yield piece


@contextmanager
def _saying_no_space() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        full = getattr(error.orig, "sqlstate", None) == DISK_FULL
        if full or "disk is full" in str(error.orig):
            raise NoSpace("no space left in the database to store an artifact") from error
        raise
