"""The files of a zip, a tar or a folder, listed under safe names and read one at a time.

Whatever is refused is refused while listing, before any content is read: links and devices,
names that climb out, too many files, too large ones, entries that overlap. Sizes are trusted only
as an upper bound that reading enforces.
"""

from __future__ import annotations

import errno
import gzip
import io
import re
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from carot.data.formats.listing import HEAD_BYTES, is_bookkeeping
from carot.errors import DataError

CHUNK = 1 << 20
MIB = 1 << 20
HEADER_BYTES = 64 << 10
"""An extended header of a tar holds little more than a long name."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold. Sizes are in bytes, after decompression."""

    members: int = 1_000_000
    file_bytes: int = 64 * MIB
    total_bytes: int = 64 * 1024 * MIB
    ratio: int = 200
    ratio_floor_bytes: int = 16 * MIB
    """Below this much content a high compression ratio harms nobody: blank images compress well."""
    name_bytes: int = 200
    depth: int = 12
    classes: int = 25_000
    unreadable_share: float = 0.01


class Members(ABC):
    """The regular files of an archive, by safe name.

    Attributes:
        sizes: name to declared size of every regular file that is not hidden.
        folders: every folder that is named or implied, without the root.
        hidden: how many files are hidden, or made by a system for itself, and not listed.
        guessed: names of which the archive does not say how they are written.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sizes: dict[str, int] = {}
        self.folders: set[str] = set()
        self.hidden = 0
        self.guessed: list[str] = []
        self.total = 0

    @abstractmethod
    def _stream(self, name: str) -> IO[bytes]:
        """Open one file of `sizes`."""

    @property
    def names(self) -> Collection[str]:
        """Of the files."""
        return self.sizes.keys()

    def head(self, name: str) -> bytes:
        """The first `HEAD_BYTES` of one file.

        Raises:
            DataError: it is damaged.
        """
        with _reading(name), self._stream(name) as stream:
            return stream.read(HEAD_BYTES)

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            DataError: it is damaged, or its size is not the declared one.
        """
        declared = self.sizes[name]
        with _reading(name), self._stream(name) as stream:
            content = stream.read(declared + 1)
        if len(content) != declared:
            raise _refused(f"{name}: the archive says {declared} bytes but holds another number")
        return content

    def _add(self, raw_name: str, size: int, *, is_folder: bool) -> str | None:
        """List one entry; None when it is ignored."""
        name = safe_name(raw_name, self.limits)
        parts = name.split("/") if name else []
        if not parts:
            return None
        if any(map(is_bookkeeping, parts)):
            self.hidden += not is_folder
            return None
        if is_folder:
            self.folders.add(name)
        self.folders.update("/".join(parts[:i]) for i in range(1, len(parts)))
        if is_folder:
            return None
        if name in self.sizes:
            raise _refused(f"{name}: the archive holds this name twice")
        if size > self.limits.file_bytes:
            raise _refused(
                f"{name}: {size} bytes are more than the {self.limits.file_bytes} of one file"
            )
        self.sizes[name] = size
        self.total += size
        if len(self.sizes) > self.limits.members:
            raise _too_many(self.limits)
        if self.total > self.limits.total_bytes:
            raise _refused(f"the archive unpacks to more than {self.limits.total_bytes} bytes")
        return name

    def _check_names(self) -> None:
        """Refuse a file that is a folder as well: nowhere can both be unpacked.

        Raises:
            DataError: there is one.
        """
        both = sorted(self.folders & self.sizes.keys())
        if both:
            raise _refused(f"{both[0]}: the archive holds a file and a folder of this name")

    def _check_ratio(self, packed: int, unpacked: int, what: str) -> None:
        if unpacked > self.limits.ratio_floor_bytes and unpacked > self.limits.ratio * packed:
            raise _refused(
                f"{what} unpacks to more than {self.limits.ratio} times its size: a zip bomb"
            )


class ZipMembers(Members):
    """A zip file: stored or deflated, not encrypted."""

    def __init__(self, path: Path, limits: Limits) -> None:
        super().__init__(limits)
        _check_directory_size(path, limits)
        with _reading("the zip's directory"):
            self._zip = zipfile.ZipFile(path)
        self._infos: dict[str, zipfile.ZipInfo] = {}
        infos = self._zip.infolist()
        if len(infos) > limits.members:
            raise _too_many(limits)
        _check_overlaps(infos, self._zip.start_dir)
        for info in infos:
            self._list(info)
        self._check_names()
        self._check_ratio(path.stat().st_size, self.total, "the archive")

    def _list(self, info: zipfile.ZipInfo) -> None:
        shown = ascii(info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(f"{shown}: a link or a device, not a regular file")
        if info.flag_bits & 0x1:
            raise _refused(f"{shown}: encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(f"{shown}: compressed with another method than deflate")
        if "\0" in info.orig_filename:
            raise _refused(f"{shown}: a name with a null character")
        written, is_known = _written_name(info)
        name = self._add(written, info.file_size, is_folder=info.is_dir())
        if name is not None:
            if not is_known:
                self.guessed.append(name)
            self._check_ratio(info.compress_size, info.file_size, name)
            self._infos[name] = info

    def _stream(self, name: str) -> IO[bytes]:
        return self._zip.open(self._infos[name])

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()


class TarMembers(Members):
    """An uncompressed tar in a file."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        super().__init__(limits)
        self._file = file
        self._places: dict[str, int] = {}
        seen = 0
        reader = cast("IO[bytes]", _HeaderReader(file))
        with _reading("the tar's headers"), tarfile.open(fileobj=reader, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps every header
                seen += 1
                if seen > limits.members:
                    raise _too_many(limits)
                self._list(info)
            # tarfile takes a torn header for the end; a whole archive ends in blocks of zeros.
            file.seek(tar.offset)
            if file.read(512) != bytes(512):
                raise _refused("the tar is cut short: it has no end marker")
        self._check_names()

    def _list(self, info: tarfile.TarInfo) -> None:
        shown = ascii(info.name)
        plain = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not info.issparse()
        if not plain and not info.isdir():
            raise _refused(f"{shown}: a link or a device, not a regular file")
        name = self._add(info.name, info.size, is_folder=info.isdir())
        if name is not None:
            self._places[name] = info.offset_data

    def head(self, name: str) -> bytes:
        self._file.seek(self._places[name])
        return self._file.read(min(HEAD_BYTES, self.sizes[name]))

    def _stream(self, name: str) -> IO[bytes]:
        self._file.seek(self._places[name])
        return io.BytesIO(self._file.read(self.sizes[name]))


class FolderMembers(Members):
    """A folder on this machine. A link is followed only to a file beneath the folder itself."""

    def __init__(self, root: Path, limits: Limits) -> None:
        super().__init__(limits)
        self._root = root.resolve()
        for path in sorted(self._root.rglob("*")):
            relative = path.relative_to(self._root).as_posix()
            if path.is_symlink() and not path.resolve().is_relative_to(self._root):
                raise _refused(f"{relative}: a link that leads out of the folder")
            if path.is_dir():
                self._add(relative, 0, is_folder=True)
            elif path.is_file():
                self._add(relative, path.stat().st_size, is_folder=False)

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = (self._root / name).open("rb")
        return stream


class _HeaderReader:
    """A file that refuses a large single read: tarfile reads an extended header in one piece."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if size > HEADER_BYTES + 1024:
            raise _refused(f"an extended header of the tar is larger than {HEADER_BYTES} bytes")
        return self._file.read(size)


@contextmanager
def open_members(source: Path, limits: Limits) -> Iterator[Members]:
    """The members of a folder, zip, tar or tar.gz, told apart by content, not by name.

    Raises:
        DataError: it is none of them, or something in it is refused.
    """
    if source.is_dir():
        yield FolderMembers(source, limits)
        return
    with source.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            members = ZipMembers(source, limits)
            try:
                yield members
            finally:
                members.close()
        elif head.startswith(b"\x1f\x8b"):
            with tempfile.TemporaryFile(dir=source.parent) as plain:
                _gunzip(file, plain, source.stat().st_size, limits)
                yield TarMembers(plain, limits)
        elif head[257:262] == b"ustar":
            yield TarMembers(file, limits)
        else:
            raise _refused("not a zip, tar or tar.gz archive")


def safe_name(raw: str, limits: Limits) -> str:
    """A relative path of plain parts, NFC, or "" for the root itself.

    Raises:
        DataError: it is absolute, climbs, has backslashes, a drive letter, control characters,
            or is too long or too deep.
    """
    shown = ascii(raw[:200])
    if "\\" in raw:
        raise _refused(f"{shown}: a name with a backslash")
    if raw.startswith("/") or re.match(r"[A-Za-z]:", raw):
        raise _refused(f"{shown}: an absolute path")
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in raw):
        raise _refused(f"{shown}: a name with control characters, or that is not UTF-8")
    parts = [p for p in unicodedata.normalize("NFC", raw).split("/") if p not in ("", ".")]
    if ".." in parts:
        raise _refused(f"{shown}: a path that climbs out of the archive")
    if len(parts) > limits.depth or any(len(p.encode()) > limits.name_bytes for p in parts):
        raise _refused(f"{shown}: a name that is too long or too deep")
    return "/".join(parts)


def _written_name(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """The name of an entry, and whether it is known how it is written.

    Without the flag for UTF-8 a zip means code page 437. Many programs, macOS' among them, write
    UTF-8 without the flag, and Windows' the code page of its language.
    """
    name = info.orig_filename
    if info.flag_bits & 0x800 or name.isascii():
        return name, True
    try:
        return name.encode("cp437").decode("utf-8"), True
    except UnicodeError:
        return name, False


def _check_directory_size(path: Path, limits: Limits) -> None:
    """Bound the zip's directory before zipfile builds an object for each of its entries."""
    signature, found, tail = b"PK\x01\x02", 0, b""
    with path.open("rb") as file:
        while chunk := file.read(4 * MIB):
            found += (tail + chunk).count(signature)
            tail = chunk[-3:]
            if found > limits.members + 1000:
                raise _too_many(limits)


def _check_overlaps(infos: list[zipfile.ZipInfo], end: int) -> None:
    ordered = sorted(infos, key=lambda info: info.header_offset)
    ends = [info.header_offset for info in ordered[1:]] + [end]
    for info, limit in zip(ordered, ends, strict=False):
        if info.header_offset + 30 + info.compress_size > limit:
            raise _refused(f"{info.orig_filename!a}: overlaps another entry: a zip bomb")


def _gunzip(packed: BinaryIO, plain: BinaryIO, packed_bytes: int, limits: Limits) -> None:
    ceiling = max(limits.ratio_floor_bytes, limits.ratio * packed_bytes)
    written = 0
    with _reading("the gzip stream"), gzip.GzipFile(fileobj=packed, mode="rb") as stream:
        while chunk := stream.read(CHUNK):
            written += len(chunk)
            if written > ceiling:
                raise _refused(
                    f"the archive unpacks to more than {limits.ratio} times its size: a zip bomb"
                )
            if written > limits.total_bytes:
                raise _refused(f"the archive unpacks to more than {limits.total_bytes} bytes")
            plain.write(chunk)
    plain.seek(0)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Whatever a reader of archives raises over arbitrary bytes means: damaged."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the disk; an offset that is none is not
            raise
        raise _refused(f"{what}: damaged or cut short ({error})") from error
    except Exception as error:
        raise _refused(f"{what}: damaged or cut short ({error})") from error


def _refused(message: str) -> DataError:
    return DataError(message, field="file")


def _too_many(limits: Limits) -> DataError:
    return _refused(f"the archive has more than {limits.members} files")
