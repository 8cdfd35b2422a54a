"""What every back end guarantees, and what they share."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ulid import ULID

from store.errors import ArtifactCorrupt, ArtifactMissing, NoSpace

CHUNK_BYTES = 4 << 20
DAY_SECONDS = 86_400.0
Reserve = Callable[[str], None]
"""Told the key of a blob, or the name that its key will begin with, before anybody can find it."""
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Blob:
    """Stored bytes. `key` is how their store finds them; only that store can read it."""

    sha256: str
    size: int
    key: str


@runtime_checkable
class Readable(Protocol):
    """An open binary file."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, none at the end."""


class ArtifactStore(Protocol):
    """Keeps bytes, whole or not at all. Safe to use from many threads and processes."""

    @property
    def shares(self) -> bool:
        """Whether putting the same bytes twice gives the same key."""

    def put(self, content: Iterable[bytes] | Readable, reserve: Reserve | None = None) -> Blob:
        """Keep `content`, never more than a few MiB of it in memory.

        Args:
            reserve: notes whose blob it is going to be. Whoever deletes looks there first, so that
                bytes which others are about to share are not deleted between here and their row.

        Raises:
            NoSpace: there is no room; nothing is stored.
        """

    def open(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `end`; whole blobs are checked.

        Raises:
            ArtifactMissing: they are gone.
            ArtifactCorrupt: they are not those that were put; known at the end of a whole read.
        """

    def size(self, key: str) -> int:
        """Number of bytes.

        Raises:
            ArtifactMissing: they are gone.
        """

    def exists(self, key: str) -> bool:
        """Whether the bytes are there."""

    def delete(self, key: str) -> None:
        """Delete the bytes; deleting twice is no error."""

    def abandoned(self, seconds: float) -> list[str]:
        """Names of blobs that were begun more than `seconds` ago, whole or not.

        What no row mentions may be deleted by `delete`.
        """


@dataclass(frozen=True)
class SealedKey:
    """A key that carries what its bytes must be: `name.sha256.size`, with a new name each time.

    For back ends that need a name before the first byte arrives.
    """

    name: str
    sha256: str = ""
    size: int = 0

    def __str__(self) -> str:
        return f"{self.name}.{self.sha256}.{self.size}"

    @classmethod
    def new(cls) -> SealedKey:
        """A name that sorts by time."""
        return cls(f"blob_{str(ULID()).lower()}")

    @classmethod
    def parse(cls, key: str) -> SealedKey:
        """The parts of a key; a bare name, as `abandoned` gives it, has no sum and no size."""
        name, _, rest = key.partition(".")
        sha256, _, size = rest.partition(".")
        if not name.startswith("blob_") or not name[5:].isalnum() or not (size or "0").isdecimal():
            raise ArtifactMissing(f"{key[:100]!r} is no key of this store")
        return cls(name, sha256, int(size or 0))

    @staticmethod
    def name_at(seconds_ago: float) -> str:
        """All names given before that moment sort before this one."""
        moment = ULID().timestamp - seconds_ago
        return f"blob_{str(ULID.from_timestamp(moment))[:10].lower()}"


class Sum:
    """Size and SHA-256 of the bytes that pass through."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Count more bytes."""
        self.size += len(data)
        self._hash.update(data)

    @property
    def sha256(self) -> str:
        """The sum so far, in hexadecimal."""
        return self._hash.hexdigest()


def chunked(content: Iterable[bytes] | Readable, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The same bytes in pieces of exactly `size`, but for the last."""
    buffer = bytearray()
    for piece in _pieces(content, size):
        buffer += piece
        while len(buffer) >= size:
            yield bytes(buffer[:size])
            del buffer[:size]
    if buffer:
        yield bytes(buffer)


def _pieces(content: Iterable[bytes] | Readable, size: int) -> Iterator[bytes]:
    if isinstance(content, Readable):
        while piece := content.read(size):
            yield piece
    else:
        yield from content


def checked(
    pieces: Iterable[bytes], key: str, sha256: str, size: int, *, whole: bool
) -> Iterator[bytes]:
    """Pass bytes on and raise when they are too few, too many or, if whole, others.

    The last piece is passed on only after that, so that nobody takes damaged bytes for all of them:
    a download whose status is already sent ends short.

    Args:
        size: how many there should be.
        whole: whether these are all bytes of the blob, so that the sum applies.
    """
    seen = Sum()
    last = b""
    for piece in pieces:
        seen.add(piece)
        if last:
            yield last
        last = piece
    if seen.size != size:
        raise ArtifactCorrupt(f"{key}: {seen.size} bytes instead of {size}")
    if whole and seen.sha256 != sha256:
        raise ArtifactCorrupt(f"{key}: the bytes are not those that were stored")
    if last:
        yield last


def bounds(size: int, start: int, end: int | None) -> tuple[int, int]:
    """A range inside a blob of `size` bytes."""
    stop = size if end is None else min(end, size)
    return min(max(start, 0), stop), stop


def is_no_space(error: BaseException) -> bool:
    """Whether an error of the operating system says that a disk or quota is full."""
    return isinstance(error, OSError) and error.errno in NO_SPACE


@contextmanager
def saying_no_space(what: str) -> Iterator[None]:
    """Turn the operating system's word for a full disk into ours."""
    try:
        yield
    except OSError as error:
        if is_no_space(error):
            raise NoSpace(f"no space left to store {what}") from error
        raise
