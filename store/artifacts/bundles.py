"""Folders as one uncompressed tar: the same files always give the same bytes."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from store.artifacts.base import saying_no_space
from store.errors import ArtifactCorrupt

PIECE = 1 << 20
MAX_BYTES = 256 << 30
MAX_FILES = 2_000_000


def pack(folder: Path) -> Iterator[bytes]:
    """The regular files below `folder` as a tar, sorted by name, without times or owners.

    Raises:
        ArtifactCorrupt: a file changed while it was read.
    """
    written = 0
    for path in sorted(_files(folder), key=lambda path: path.relative_to(folder).as_posix()):
        for piece in _entry(path, path.relative_to(folder).as_posix()):
            written += len(piece)
            yield piece
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(written + end) % tarfile.RECORDSIZE)


def unpack(chunks: Iterable[bytes], folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Write the files of a bundle below `folder`, which is made when it is not there.

    All of `chunks` is read, so that a store can check its sum. When it raises, `folder` holds a
    part: write under a temporary name and rename.

    Raises:
        ArtifactCorrupt: not a bundle, links, names that climb out, more than `max_bytes`.
        NoSpace: the disk is full.
    """
    stream = _Stream(chunks)
    with saying_no_space("the files of a bundle"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                _unpack_members(tar, folder, max_bytes)
        except tarfile.TarError as error:
            raise ArtifactCorrupt(f"not a bundle: {error}") from error
        stream.drain()


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _entry(path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        info = tarfile.TarInfo(name)
        info.size, info.mode = os.fstat(file.fileno()).st_size, 0o644
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = info.size
        while left and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece
        if left:
            raise ArtifactCorrupt(f"{name} was cut short while it was read")
        if padding := -info.size % tarfile.BLOCKSIZE:
            yield bytes(padding)


def _unpack_members(tar: tarfile.TarFile, folder: Path, max_bytes: int) -> None:
    left = max_bytes
    for count, info in enumerate(tar, start=1):
        shown = ascii(info.name)
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or info.issparse():
            raise ArtifactCorrupt(f"{shown} in a bundle is not a regular file")
        if any(part in ("", ".", "..") for part in info.name.split("/")) or "\0" in info.name:
            raise ArtifactCorrupt(f"{shown} in a bundle is not a relative name")
        left -= info.size
        if left < 0 or info.size < 0 or count > MAX_FILES:
            raise ArtifactCorrupt(f"a bundle holds more than {max_bytes} bytes or too many files")
        _write(tar, info, folder / info.name)


def _write(tar: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(info)
    assert source is not None, "only regular files get here"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise ArtifactCorrupt(f"{info.name!a} is in a bundle twice") from error
    written = 0
    with file:
        while piece := source.read(PIECE):
            file.write(piece)
            written += len(piece)
    if written != info.size:
        raise ArtifactCorrupt(f"{info.name!a} in a bundle is cut short")
    os.utime(target, (0, 0))  # as on every machine that unpacks it


class _Stream(io.RawIOBase):
    """Chunks as a file, which is what tarfile reads."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        pieces = []
        while size != 0:
            if not self._rest:
                # A view, since tarfile reads little at a time: cutting bytes would copy the rest.
                self._rest = memoryview(next(self._chunks, b""))
                if not self._rest:
                    break
            piece = self._rest if size < 0 else self._rest[:size]
            self._rest = self._rest[len(piece) :]
            size = size if size < 0 else size - len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def drain(self) -> None:
        """Read what is left, so that whoever makes the chunks can check them."""
        self._rest = memoryview(b"")
        for _ in self._chunks:
            pass
