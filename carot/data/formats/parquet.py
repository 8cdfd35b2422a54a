"""Parquet files of images in the Hugging Face layout: a column of images and one of labels.

The labels are read once. Of the images only some row groups are in memory at a time, and a
source's `blocks` are its row groups, so that training reads each about once an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import pyarrow as pa

from carot.data.byte_cache import ByteCache
from carot.data.formats.files import DataFile, find_files
from carot.data.formats.parquet_tables import Row, RowGroup, read_table
from carot.data.partition import Arranged, arrange
from carot.data.source import Blocks, EncodedSource
from carot.errors import DataError, UnreadableImage

CACHE_BYTES = 256 << 20

RowGroups = ByteCache[RowGroup, pa.ChunkedArray]


def row_groups(limit: int) -> RowGroups:
    """A place for up to `limit` bytes of encoded images."""
    return ByteCache(limit, lambda images: int(images.nbytes))


_SHARED = row_groups(CACHE_BYTES)
"""One for the process: a run opens many sources, and reads one at a time."""


class ParquetSource(EncodedSource):
    """Images in Parquet files, read by row group and decoded when asked for, by any thread."""

    def __init__(self, arranged: Arranged[Row], groups: RowGroups) -> None:
        self.rows = arranged.items
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
    split; without any, rows are dealt out by a hash of their keys; see
    `carot.data.partition.arrange`. Images are encoded bytes, plain or in a struct with `bytes`;
    labels are numbers or words, and numbers have the names of a `ClassLabel` where there is one.

    Args:
        groups: where row groups that were read are kept.

    Raises:
        DataError: no such files, damaged ones, a column is missing, a row has no label, fewer
            than two classes.
    """
    by_split, names = _index(tuple(find_files(path, (".parquet",))))
    return ParquetSource(arrange(by_split, split, path.name, names), groups)


@lru_cache(maxsize=4)
def _index(
    files: tuple[DataFile, ...],
) -> tuple[dict[str | None, Sequence[Row]], tuple[str, ...] | None]:
    """Every row, by split, and the class names. The last are kept: a run asks several times."""
    tables = [read_table(file) for file in files]
    by_split: dict[str | None, list[Row]] = {}
    for file, table in zip(files, tables, strict=True):
        if table.names != tables[0].names:
            raise DataError(
                f"{file.name} and {files[0].name} have other class names", field="dataset"
            )
        by_split.setdefault(file.split, []).extend(table.rows)
    kinds = {type(row.label) for rows in by_split.values() for row in rows}
    if len(kinds) > 1:
        raise DataError("some files have words as labels, others numbers", field="dataset")
    return {split: rows for split, rows in by_split.items() if rows}, tables[0].names


def _blocks(rows: Sequence[Row], limit: int) -> Blocks | None:
    """The row groups that some rows lie in; half of the cache is for the window that follows."""
    ranges, largest, start = [], 1, 0
    for group, members in groupby(rows, attrgetter("group")):
        stop = start + sum(1 for _ in members)
        ranges.append(range(start, stop))
        largest, start = max(largest, group.bytes), stop
    return Blocks(tuple(ranges), max(1, limit // 2 // largest)) if ranges else None
