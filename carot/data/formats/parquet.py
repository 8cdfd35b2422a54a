"""Parquet files of images in the Hugging Face layout: a column of images and one of labels.

The labels are read once. Of the images only some row groups are in memory at a time, and a
source's `blocks` are its row groups, so that training reads each about once an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import pyarrow as pa

from carot.data.byte_cache import ByteCache
from carot.data.formats.files import DataFile, find_files
from carot.data.formats.parquet_tables import ParquetTable, Row, RowGroup, read_table
from carot.data.labels import check_no_captions, settle, unlabelled
from carot.data.partition import Arranged, arrange
from carot.data.source import Blocks, EncodedSource
from carot.errors import DataError, UnreadableImage
from carot.warnings import CodedWarning

CACHE_BYTES = 256 << 20

RowGroups = ByteCache[RowGroup, pa.ChunkedArray]


def row_groups(limit: int) -> RowGroups:
    """A place for up to `limit` bytes of encoded images."""
    return ByteCache(limit, lambda images: int(images.nbytes))


_SHARED = row_groups(CACHE_BYTES)
"""One for the process: a run opens many sources, and reads one at a time."""


class ParquetSource(EncodedSource):
    """Images in Parquet files, read by row group and decoded when asked for, by any thread."""

    def __init__(
        self, arranged: Arranged[Row], groups: RowGroups, warnings: tuple[CodedWarning, ...] = ()
    ) -> None:
        self.rows = arranged.items
        self.warnings = warnings
        self.groups = groups
        self.classes = arranged.classes
        self.keys = [row.key for row in self.rows]
        self.labels = arranged.labels_N
        self.blocks = _blocks(self.rows, groups.limit)

    def content(self, index: int) -> bytes:
        row = self.rows[index]
        group = row.group
        try:
            content: bytes | None = self.groups.get(group, group.read, group.bytes)[
                row.position
            ].as_py()
        except (pa.ArrowException, OSError) as error:
            reason = f"row group {group.index} of {group.file.name}: {error}"
            raise UnreadableImage(self.keys[index], reason) from error
        if content is None:
            raise UnreadableImage(self.keys[index], "the row has no image bytes")
        return content

    def size(self, index: int) -> int:
        return -1

    def mark(self, index: int) -> bytes:
        file = self.rows[index].group.file
        return f"{file.size} {file.modified}".encode()


def open_parquet(path: Path, split: str, groups: RowGroups = _SHARED) -> ParquetSource:
    """The images of one split.

    `path` is a folder of `.parquet` files, one of them, or a pattern with numeric ranges. Files
    with a word such as `train` or `test` in their names, or in folders of that name, hold that
    split, or a column says each row's; without any, rows are dealt out by a hash of their keys;
    see `carot.data.partition.arrange`. Images are encoded bytes, plain or in a struct with `bytes`;
    labels are numbers or words, and numbers have the names of a `ClassLabel` where there is one.

    Args:
        groups: where row groups that were read are kept.

    Raises:
        DataError: no such files, damaged ones, a column is missing, images that are not in the
            file, captions in place of labels, fewer than two classes.
    """
    index = _index(tuple(find_files(path, (".parquet",))), path.name)
    arranged = arrange(index.groups, split, path.name, index.names)
    return ParquetSource(arranged, groups, index.warnings)


@dataclass(frozen=True)
class _Index:
    """Every labelled row, by split, and the names of the classes that labels are indices of."""

    groups: dict[str | None, Sequence[Row]]
    names: tuple[str, ...] | None
    warnings: tuple[CodedWarning, ...]


@lru_cache(maxsize=4)
def _index(files: tuple[DataFile, ...], where: str) -> _Index:
    """What the files hold without their images. The last are kept: a run asks several times."""
    tables = [read_table(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.names != tables[0].names:
            raise DataError(
                f"{file.name} and {files[0].name} have other class names", field="dataset"
            )
    if len({table.are_words for table in tables}) > 1:
        raise DataError("some files have words as labels, others numbers", field="dataset")
    written = [label for table in tables for label in table.labels]
    settled = settle(written, where)
    meant = iter(settled.labels)
    by_split: dict[str | None, list[Row]] = {}
    for file, table in zip(files, tables, strict=True):
        for number, (group, position) in enumerate(table.places()):
            label = next(meant)
            if label is not None:
                row = Row(int(label) if settled.are_indices else label, group, position, number)
                by_split.setdefault(_split(file, table, number), []).append(row)
    if None in by_split and len(by_split) > 1:
        raise DataError(f"{where}: some rows are in a split, others in none", field="dataset")
    labels = [label for label in settled.labels if label is not None]
    if tables[0].names is None:
        check_no_captions(labels, where)
    missing = unlabelled(len(written) - len(labels), len(written), where)
    of_tables = [warning for table in tables for warning in table.warnings]
    warnings = (*of_tables, *settled.warnings, *missing)
    return _Index(dict(by_split), tables[0].names, warnings)


def _split(file: DataFile, table: ParquetTable, number: int) -> str | None:
    """The split of a row.

    Raises:
        DataError: its column says another one than its file's name.
    """
    said = table.splits[number]
    if said is None:
        return file.split
    if file.split not in (None, said):
        raise DataError(
            f"{file.name}, row {number}: in the split {said}, but the file is named after "
            f"{file.split}",
            field="dataset",
        )
    return said


def _blocks(rows: Sequence[Row], limit: int) -> Blocks | None:
    """The row groups that some rows lie in; half of the cache is for the window that follows."""
    ranges, largest, start = [], 1, 0
    for group, members in groupby(rows, attrgetter("group")):
        stop = start + sum(1 for _ in members)
        ranges.append(range(start, stop))
        largest, start = max(largest, group.bytes), stop
    return Blocks(tuple(ranges), max(1, limit // 2 // largest)) if ranges else None
