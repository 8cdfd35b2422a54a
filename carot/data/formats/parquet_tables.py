"""What one Parquet file says without its images: labels, class names, where its row groups are."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from carot.data.formats.files import DataFile
from carot.data.partition import Label
from carot.errors import DataError

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture")
LABEL_COLUMNS = ("label", "labels", "class", "cls", "target", "category", "fine_label")
MAX_ROW_GROUP_BYTES = 1 << 30


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
class Table:
    """The rows of a file, in order, and the class names that it gives to its labels, if any."""

    rows: Sequence[Row]
    names: tuple[str, ...] | None


def read_table(file: DataFile) -> Table:
    """All of a file but its images.

    Raises:
        DataError: not a whole Parquet file, no column of images or of labels, a label that is
            missing or negative, a row group too large to be read at once.
    """
    with _reading(file), pq.ParquetFile(file.path) as opened:
        schema = opened.schema_arrow
        image = _column(schema, IMAGE_COLUMNS, _holds_images, file)
        label = _column(schema, LABEL_COLUMNS, _holds_labels, file)
        is_struct = pa.types.is_struct(schema.field(image).type)
        column = f"{image}.bytes" if is_struct else image
        labels = _labels(opened.read(columns=[label], use_threads=False).column(0), file)
        groups = _row_groups(opened.metadata, column, file)
        names = _class_names(schema, label, file)
    places = ((group, position) for group, rows in groups for position in range(rows))
    rows = [
        Row(value, group, position, number)
        for number, (value, (group, position)) in enumerate(zip(labels, places, strict=True))
    ]
    return Table(rows, names)


def _column(
    schema: pa.Schema, names: Sequence[str], fits: Callable[[pa.DataType], bool], file: DataFile
) -> str:
    for name in names:
        if schema.get_field_index(name) >= 0 and fits(schema.field(name).type):
            return name
    what = "encoded images" if names is IMAGE_COLUMNS else "labels"
    listed = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise DataError(
        f"{file.name}: no column of {what} named {' or '.join(names)}; it has {listed[:500]}",
        field="dataset",
    )


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_images(kind.field(index).type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _holds_labels(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_labels(kind.value_type)
    tests = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in tests)


def _labels(column: pa.ChunkedArray, file: DataFile) -> list[Label]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        numbers: list[int | None] = column.to_pylist()
        wrong = (i for i, number in enumerate(numbers) if number is None or number < 0)
        labels: list[Label] = [number for number in numbers if number is not None]
    else:
        words: list[str | None] = column.to_pylist()
        wrong = (i for i, word in enumerate(words) if not word)
        # One string for all images of a class.
        labels = [sys.intern(word) for word in words if word is not None]
    first = next(wrong, None)
    if first is not None:
        raise DataError(
            f"{file.name}: row {first} has no label ({column[first].as_py()})", field="dataset"
        )
    return labels


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
