"""What lies in an archive or a folder: images, tables, and the rest, which is counted by kind."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from carot.data.decoding.images import SUFFIXES
from carot.data.tables.reader import Table, is_other_table, is_table, read_table
from carot.errors import DataError
from carot.warnings import CodedWarning

HEAD_BYTES = 16
BOOKKEEPING = frozenset(
    {
        "__macosx", "__pycache__", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found",
        "system volume information", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
    }
)  # fmt: skip
"""Files and folders, in lower case, that systems make and nobody means."""
SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*",
    *(b"P%d%c" % (kind, blank) for kind in (1, 2, 3, 4, 5, 6) for blank in b"\n\r\t #"),
)  # fmt: skip
BRANDS = (b"avif", b"avis")


class Files(Protocol):
    """The regular files of an archive or a folder, without what `is_bookkeeping`.

    Attributes:
        folders: every folder that is named or implied, without the root.
        hidden: how many files are kept from sight.
    """

    folders: set[str]
    hidden: int

    @property
    def names(self) -> Collection[str]:
        """Paths with slashes beneath the root."""

    def head(self, name: str) -> bytes:
        """The first `HEAD_BYTES` of a file."""

    def read(self, name: str) -> bytes:
        """All of a file."""


@dataclass
class Listing:
    """Every file by what it is.

    Attributes:
        left_out: number of files that are neither images nor tables, by their ending.
    """

    images: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    hidden: int = 0

    def warnings(self) -> list[CodedWarning]:
        """What was left out, if there was any, in a sentence."""
        kinds = [f"{count} {kind}" for kind, count in self.left_out.most_common(10)]
        if (more := len(self.left_out) - 10) > 0:
            kinds.append(f"files of {more} other kinds")
        if self.hidden:
            kinds.append(f"{self.hidden} hidden or made by a system")
        if not kinds:
            return []
        total = self.left_out.total() + self.hidden
        message = f"left out {total} file{'s' * (total != 1)}, not images: {', '.join(kinds)}"
        return [CodedWarning(code="files_left_out", message=message)]


def is_bookkeeping(part: str) -> bool:
    """Whether a file or folder of this name is hidden, or made by a system for itself."""
    return part.startswith(".") or part.lower() in BOOKKEEPING


def look(files: Files) -> Listing:
    """What the files are. What an image is, its first bytes say where its name does not.

    Raises:
        DataError: a table that cannot be read, or of a kind that is not.
    """
    listing = Listing(hidden=files.hidden)
    for name in sorted(files.names):
        ending = _ending(name)
        if ending in SUFFIXES:
            listing.images.append(name)
        elif is_other_table(name):
            raise DataError(
                f"{name}: tables of this kind are not read; save it as CSV, or remove it if it "
                "has nothing to do with the images",
                field="dataset",
            )
        elif is_table(name) and not (ending == ".json" and _is_no_list(files.head(name))):
            table = read_table(name, files.read(name))
            if table is None:
                listing.left_out[ending] += 1
            else:
                listing.tables.append(table)
        elif is_image(files.head(name)):
            listing.images.append(name)
        else:
            listing.left_out[ending or "without an ending"] += 1
    return listing


def _is_no_list(head: bytes) -> bool:
    """Of JSON: annotations of a million images are not read to find that they are no table."""
    return not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def look_for_images(files: Files) -> list[str]:
    """The images alone, whatever else there is."""
    return [
        name
        for name in sorted(files.names)
        if _ending(name) in SUFFIXES or is_image(files.head(name))
    ]


def _ending(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def left_out(files: Files, images: Collection[str]) -> list[CodedWarning]:
    """What was left out where only these images are read."""
    others = set(files.names).difference(images)
    kinds = Counter(_ending(name) or "without an ending" for name in others)
    return Listing(left_out=kinds, hidden=files.hidden).warnings()


def is_image(head: bytes) -> bool:
    """Whether a file that begins with these bytes is an image of a kind that is read."""
    if head[4:8] == b"ftyp" and head[8:12] in BRANDS:
        return True
    return head.startswith(SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


class DiskFiles:
    """The files of a folder on this machine, behind links as well. Nothing is opened to list them.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder", field="dataset")
        self._root = root
        self.folders: set[str] = set()
        self.hidden = 0
        self._names = list(self._walk())

    @property
    def names(self) -> Collection[str]:
        """Paths with slashes beneath the root."""
        return self._names

    def head(self, name: str) -> bytes:
        """The first `HEAD_BYTES` of a file; none of one that cannot be read."""
        try:
            with (self._root / name).open("rb") as file:
                return file.read(HEAD_BYTES)
        except OSError:
            return b""

    def read(self, name: str) -> bytes:
        """All of a file."""
        try:
            return (self._root / name).read_bytes()
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}", field="dataset") from error

    def _walk(self) -> Iterator[str]:
        waiting = [self._root]
        while waiting:
            folder = waiting.pop()
            prefix = folder.relative_to(self._root).as_posix()
            prefix = "" if prefix == "." else f"{prefix}/"
            with _scanned(folder) as entries:
                for entry in entries:
                    if is_bookkeeping(entry.name):
                        self.hidden += _count(entry)
                    elif entry.is_file():
                        yield prefix + entry.name
                    elif entry.is_dir() and not _is_circle(entry):
                        self.folders.add(prefix + entry.name)
                        waiting.append(folder / entry.name)


@contextmanager
def _scanned(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            yield entries
    except OSError as error:
        message = f"{folder.name} cannot be read: {error.strerror}"
        raise DataError(message, field="dataset") from error


def _count(entry: os.DirEntry[str]) -> int:
    """How many files it is, or holds."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))


def _is_circle(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to a folder that it lies in."""
    path = Path(entry.path)
    return entry.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())
