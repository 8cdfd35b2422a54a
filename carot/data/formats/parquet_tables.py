"""What one Parquet file says without its images: labels, class names, where its row groups are."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from carot.data.formats.files import DataFile
from carot.data.partition import Label
from carot.data.tables.named_columns import NamedColumns, plain
from carot.data.tables.reader import Table
from carot.data.tables.split_columns import (
    FLAGS,
    PERHAPS_SPLIT_COLUMNS,
    SPLIT_COLUMNS,
    splits_of,
)
from carot.errors import DataError
from carot.warnings import CodedWarning

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture")
LABEL_COLUMNS = ("label", "labels", "class", "cls", "target", "category", "fine_label")
MAX_ROW_GROUP_BYTES = 1 << 30
MAX_ABSENT = 0.5
"""The share of rows without image bytes from which a file is refused before anything is read."""
SMALLEST_IMAGE = 16
"""No image takes fewer bytes."""


@dataclass(frozen=True)
class RowGroup:
    """Where some images lie.

    Attributes:
        column: the path of their column.
        bytes: that they take, uncompressed.
    """

    file: DataFile
    index: int
    column: str
    bytes: int

    def read(self) -> pa.ChunkedArray:
        """The encoded images, as binary values.

        Raises:
            pa.ArrowException, OSError: the file is damaged or gone.
        """
        # Opened again: a reader is not made for several threads.
        with pq.ParquetFile(self.file.path) as file:
            table = file.read_row_group(self.index, columns=[self.column], use_threads=False)
        images = table.column(0)
        is_struct = pa.types.is_struct(images.type)
        return pc.struct_field(images, "bytes") if is_struct else images


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled image: row `position` of a group, row `number` of its file."""

    label: Label
    group: RowGroup
    position: int
    number: int

    @property
    def key(self) -> str:
        """Stable as long as rows are only added behind it."""
        return f"{self.group.file.name}:{self.number}"

    def digest(self) -> bytes:
        """Of the key: the content is read only for training."""
        return hashlib.sha256(self.key.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True)
class ParquetTable:
    """What a file says of its rows, in their order.

    Attributes:
        labels: as they are written; None where there is none.
        splits: of each row; None where no column says it.
        warnings: of columns that are not used.
        are_words: whether the column of labels holds words.
        names: those of the classes that the labels are indices of, if the file says them.
    """

    labels: Sequence[str | None]
    are_words: bool
    splits: Sequence[str | None]
    warnings: Sequence[CodedWarning]
    groups: Sequence[tuple[RowGroup, int]]
    names: tuple[str, ...] | None

    def places(self) -> Iterator[tuple[RowGroup, int]]:
        """The row group of each row, and its position in that."""
        return ((group, position) for group, rows in self.groups for position in range(rows))


def read_table(file: DataFile) -> ParquetTable:
    """All of a file but its images.

    Raises:
        DataError: not a whole Parquet file, no column of images or of labels, images that are
            named and not in it, a split that is none, a row group too large to be read at once.
    """
    with _reading(file), pq.ParquetFile(file.path) as opened:
        schema = opened.schema_arrow
        image = _column(schema, IMAGE_COLUMNS, _holds_images, file)
        label = _column(schema, LABEL_COLUMNS, _holds_labels, file)
        is_struct = pa.types.is_struct(schema.field(image).type)
        column = f"{image}.bytes" if is_struct else image
        _check_has_images(opened.metadata, column, file)
        written = opened.read(columns=[label], use_threads=False).column(0)
        labels, are_words = _labels(written, file), _are_words(written.type)
        splits = _splits(opened, file)
        groups = _row_groups(opened.metadata, column, file)
        names = _class_names(schema, label, file)
    return ParquetTable(labels, are_words, *splits, groups, names)


def _splits(
    opened: pq.ParquetFile, file: DataFile
) -> tuple[list[str | None], Sequence[CodedWarning]]:
    """The split of each row by the columns that may say it, as in any other table."""
    wanted = (*SPLIT_COLUMNS, *PERHAPS_SPLIT_COLUMNS, *FLAGS)
    kinds = (pa.types.is_boolean, pa.types.is_integer, _are_words)
    header = tuple(
        field.name
        for field in opened.schema_arrow
        if plain(field.name) in wanted and any(fits(field.type) for fits in kinds)
    )
    count = opened.metadata.num_rows
    if not header:
        return [None] * count, ()
    read = opened.read(columns=list(header), use_threads=False)
    columns = [[text or "" for text in _texts(read.column(name))] for name in header]
    rows = list(zip(*columns, strict=True))
    return splits_of(NamedColumns(Table(file.name, header, rows, range(count), "row")))


def _check_has_images(metadata: pq.FileMetaData, column: str, file: DataFile) -> None:
    """Refuse a file that names images, as `datasets` writes it, and does not hold them.

    Statistics count the rows without bytes; without any, a column of a few bytes a row has none.

    Raises:
        DataError: more than `MAX_ABSENT` of the rows have no bytes.
    """
    absent = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        for chunk in (group.column(i) for i in range(group.num_columns)):
            if chunk.path_in_schema != column:
                continue
            if chunk.is_stats_set and chunk.statistics.has_null_count:
                absent += chunk.statistics.null_count
            elif chunk.total_uncompressed_size < SMALLEST_IMAGE * group.num_rows:
                absent += group.num_rows
    if absent > MAX_ABSENT * metadata.num_rows:
        raise DataError(
            f"{file.name}: {absent} of {metadata.num_rows} rows have no image bytes in {column}, "
            "only a path at best: the images are not in the file. Write it anew with the bytes in "
            "it (with `datasets`, cast the column to Image() and embed the files before "
            "to_parquet), or use the images as `folder:` or `csv:`",
            field="dataset",
        )


def _column(
    schema: pa.Schema, names: Sequence[str], fits: Callable[[pa.DataType], bool], file: DataFile
) -> str:
    by_name = {plain(field.name): field.name for field in reversed(schema)}
    for name in names:
        found = by_name.get(plain(name))
        if found is not None and fits(schema.field(found).type):
            return str(found)
    what = "encoded images" if names is IMAGE_COLUMNS else "labels"
    listed = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise DataError(
        f"{file.name}: no column of {what} named {' or '.join(names)}; it has {listed[:500]}"
        + ("; the bytes of the images belong into the file" if names is IMAGE_COLUMNS else ""),
        field="dataset",
    )


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_images(kind.field(index).type)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _holds_labels(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or _are_words(kind))


def _are_words(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _are_words(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _labels(column: pa.ChunkedArray, file: DataFile) -> list[str | None]:
    if pa.types.is_floating(column.type):
        values = (v for v in column.to_pylist() if v is not None and not math.isnan(v))
        fraction = next((v for v in values if not v.is_integer()), None)
        if fraction is not None:
            raise DataError(
                f"{file.name}: labels are fractions, such as {fraction}, not classes",
                field="dataset",
            )
    labels = _texts(column)
    if labels and not any(labels):
        raise DataError(f"{file.name}: not one row has a label", field="dataset")
    return labels


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    """The values as text, one string for all that are equal."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.to_pylist()
    texts = {value: None if value is None else sys.intern(str(value)) for value in set(values)}
    return [texts[value] for value in values]


def _row_groups(
    metadata: pq.FileMetaData, column: str, file: DataFile
) -> list[tuple[RowGroup, int]]:
    """Each row group with its number of rows."""
    groups = []
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        columns = (group.column(i) for i in range(group.num_columns))
        size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == column)
        if size > MAX_ROW_GROUP_BYTES:
            raise DataError(
                f"{file.name}: row group {index} has {size >> 20} MiB of images, which have to be "
                f"read at once; write it with a row_group_size that keeps them below "
                f"{MAX_ROW_GROUP_BYTES >> 20} MiB",
                field="dataset",
            )
        groups.append((RowGroup(file, index, column, size), group.num_rows))
    return groups


def _class_names(schema: pa.Schema, label: str, file: DataFile) -> tuple[str, ...] | None:
    """Those of a Hugging Face `ClassLabel`, which stand in the schema's metadata as JSON."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None or not pa.types.is_integer(schema.field(label).type):
        return None
    try:
        features = json.loads(text)["info"]["features"]
        names = features[label].get("names")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{file.name}: its Hugging Face metadata does not describe {label}", field="dataset"
        ) from error
    if names is None:
        return None  # plain numbers
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file.name}: the class names of {label} are no list", field="dataset")
    return tuple(names)


@contextmanager
def _reading(file: DataFile) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file.name}: not a whole Parquet file ({error})", field="dataset"
        ) from error
