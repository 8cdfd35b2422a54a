"""Streams a request body to disk and computes its SHA-256."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from anyio import to_thread
from starlette.requests import ClientDisconnect

from api.web.middleware import too_large
from api.web.problems import Problem

FLUSH_BYTES = 1 << 20
PREFIX = "upload-"
LOCK = ".lock"
FRESH_SECONDS = 60.0


@dataclass(frozen=True)
class Upload:
    """A received body."""

    path: Path
    size: int
    sha256: str


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A temporary folder for one request, removed at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(dir=folder, prefix=PREFIX) as name,
        (Path(name) / LOCK).open("wb") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Path(name)


def clean_scratch(folder: Path) -> None:
    """Remove what killed processes left there. The kernel frees a lock with its holder."""
    for path in folder.glob(f"{PREFIX}*"):
        try:
            if time.time() - path.stat().st_mtime < FRESH_SECONDS:
                continue  # perhaps just made, and not locked yet
            with (path / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # in use, or gone meanwhile


async def receive(chunks: AsyncIterator[bytes], path: Path, limit: int) -> Upload:
    """Write a stream of bytes to `path`, in other threads than the event loop's.

    Raises:
        Problem: 413 beyond `limit` bytes, 400 when the client goes away or the body is empty,
            507 without space.
    """
    digest, size, waiting = hashlib.sha256(), 0, bytearray()

    def flush(file: BinaryIO, content: bytes) -> None:
        digest.update(content)
        file.write(content)

    try:
        with path.open("wb") as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise too_large(limit)
                waiting += chunk
                if len(waiting) >= FLUSH_BYTES:
                    await to_thread.run_sync(flush, file, bytes(waiting))
                    waiting.clear()
            await to_thread.run_sync(flush, file, bytes(waiting))
    except ClientDisconnect as error:
        raise Problem(400, "bad_request", "the body ended early") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise Problem(507, "no_space", "no space left for the upload") from error
        raise
    if size == 0:
        raise Problem(400, "bad_request", "the body is empty; send a zip, tar or tar.gz archive")
    return Upload(path, size, digest.hexdigest())
