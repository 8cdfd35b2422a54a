"""The samples of one WebDataset shard, from its headers and labels alone.

Convention: the name of a file up to the first dot of its last part is the key of its sample, the
rest says what it is: `pets/0001.jpg` and `pets/0001.cls` are sample `pets/0001`. Of an ending in
several parts (`0001.left.jpg`) the last one says it, where no file has that ending alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import BinaryIO

from carot.data.decoding.images import SUFFIXES
from carot.data.formats.files import DataFile
from carot.data.formats.listing import HEAD_BYTES, is_image
from carot.data.partition import Label
from carot.errors import DataError

MAX_LABEL_BYTES = 1 << 20
JSON_LABELS = ("label", "class")
PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_NAME = re.compile(r"(?P<key>(?:.*/)?[^./][^./]*)\.(?P<kind>[^/]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image in a shard: `size` bytes from `offset`."""

    key: str
    label: Label
    shard: DataFile
    offset: int
    size: int

    def digest(self) -> bytes:
        """Of the key: the content is read only for training."""
        return hashlib.sha256(self.key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Written:
    """A sample whose label is as it is written; None where it has none."""

    key: str
    label: str | None
    shard: DataFile
    offset: int
    size: int

    def meaning(self, label: Label) -> Sample:
        """The sample of this class."""
        return Sample(self.key, label, self.shard, self.offset, self.size)


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    kind: str
    offset: int
    size: int


def read_samples(shard: DataFile) -> Iterator[Written]:
    """The samples of a shard, in its order. Links, devices and hidden files are no part of any.

    Raises:
        DataError: not a whole, uncompressed tar; a sample without exactly one image, or with a
            label that is neither a word nor a number.
    """
    with shard.path.open("rb") as file:
        for key, members in groupby(_members(file, shard), attrgetter("key")):
            by_kind: dict[str, _Member] = {}
            for member in members:
                if by_kind.setdefault(member.kind, member) is not member:
                    raise _wrong(shard, key, f"two files named .{member.kind}")
            image = _image(by_kind, file, shard, key)
            yield Written(key, _label(by_kind, file, shard, key), shard, image.offset, image.size)


def _members(file: BinaryIO, shard: DataFile) -> Iterator[_Member]:
    try:
        yield from _listed(file)
    except DataError:
        raise
    # tarfile meets arbitrary bytes: whatever it raises over them means the same to the caller.
    except Exception as error:
        file.seek(0)
        head = file.read(6)
        packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
        reason = f"packed with {packed}; decompress it" if packed else f"damaged tar ({error})"
        raise DataError(f"{shard.name}: {reason}", field="dataset") from error


def _listed(file: BinaryIO) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # it keeps all that it has seen
            match = _NAME.fullmatch(entry.name.removeprefix("./"))
            if match is None or not entry.isreg() or entry.issparse():
                continue
            yield _Member(match["key"], match["kind"].lower(), entry.offset_data, entry.size)
        # tarfile takes a torn header for the end; a whole tar ends in blocks of zeros.
        file.seek(tar.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it has no end marker")


def _image(members: dict[str, _Member], file: BinaryIO, shard: DataFile, key: str) -> _Member:
    """By ending; where no ending is an image's, by content."""
    images = [member for kind, member in members.items() if f".{kind}" in SUFFIXES]
    if not images:
        images = [m for kind, m in members.items() if f".{_last(kind)}" in SUFFIXES]
    if not images:
        images = [m for kind, m in members.items() if is_image(_head(m, file))]
    if len(images) != 1:
        listed = ", ".join(f".{kind}" for kind in members)
        hint = "" if images else "; the files of a sample stand together (tar --sort=name)"
        raise _wrong(shard, key, f"{len(images) or 'no'} images; it has {listed}{hint}")
    return images[0]


def _last(kind: str) -> str:
    return kind.rpartition(".")[2]


def _head(member: _Member, file: BinaryIO) -> bytes:
    file.seek(member.offset)
    return file.read(min(member.size, HEAD_BYTES))


def _of_kind(members: dict[str, _Member], wanted: str, shard: DataFile, key: str) -> _Member | None:
    """The file with this ending, or with it for the last part of its ending.

    Raises:
        DataError: several have it.
    """
    if wanted in members:
        return members[wanted]
    found = [member for kind, member in members.items() if _last(kind) == wanted]
    if len(found) > 1:
        listed = " and ".join(f".{member.kind}" for member in found)
        raise _wrong(shard, key, f"it has {listed}; name the one that is meant .{wanted}")
    return found[0] if found else None


def _label(members: dict[str, _Member], file: BinaryIO, shard: DataFile, key: str) -> str | None:
    """From `.cls`, from `.json` where that has one, or from `.txt`, often a caption instead."""
    found: object = None
    if (member := _of_kind(members, "cls", shard, key)) is not None:
        found = _text(member, file, shard, key)
    if found is None and (member := _of_kind(members, "json", shard, key)) is not None:
        found = _json_label(_text(member, file, shard, key), shard, key)
    if found is None and (member := _of_kind(members, "txt", shard, key)) is not None:
        found = _text(member, file, shard, key)
    if found is None or isinstance(found, str):
        return None if found is None else sys.intern(found.strip())  # one for all of a class
    whole = isinstance(found, int) or (isinstance(found, float) and found.is_integer())
    if whole and not isinstance(found, bool):
        return sys.intern(str(found))
    raise _wrong(shard, key, f"the label {str(found)[:80]} is neither a name nor an index")


def _json_label(text: str, shard: DataFile, key: str) -> object:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(shard, key, f"its .json is none ({error})") from error
    if not isinstance(document, dict):
        return None
    return next((document[name] for name in JSON_LABELS if document.get(name) is not None), None)


def _text(member: _Member, file: BinaryIO, shard: DataFile, key: str) -> str:
    if member.size > MAX_LABEL_BYTES:
        raise _wrong(shard, key, f".{member.kind} has {member.size} bytes, too many for a label")
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8")
    except UnicodeDecodeError as error:
        raise _wrong(shard, key, f"its .{member.kind} is not UTF-8") from error


def _wrong(shard: DataFile, key: str, reason: str) -> DataError:
    return DataError(f"{shard.name}: sample {key!r}: {reason}", field="dataset")
