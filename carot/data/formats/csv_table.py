"""Images on disk that a CSV file names, with their classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from carot.data.formats.folder import FileSource, Item
from carot.data.partition import arrange
from carot.data.splits import SPLITS
from carot.errors import DataError

PATH_COLUMNS = ("filepath", "path", "image")
LABEL_COLUMNS = ("label", "title", "class")


def open_csv(path: Path, split: str) -> FileSource:
    """The images that a CSV file names, in open_clip's convention.

    Columns: `filepath` (relative to the file's folder), `title` or `label` (the class), and
    optionally `split`. Without a split column the images are dealt out by content hash.

    Raises:
        DataError: no such file, a column is missing, a row has no label, fewer than two classes.
    """
    return FileSource(arrange(read_csv(path), split, path.name))


def read_csv(path: Path) -> dict[str | None, list[Item]]:
    """What the rows of a CSV file name, by split; None without a split column.

    Raises:
        DataError: as for `open_csv`.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", field="dataset")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            text = file.read()
        delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
        reader = csv.DictReader(text.splitlines(), delimiter=delimiter)
        header, rows = list(reader.fieldnames or []), list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path.name}: not a CSV file in UTF-8 ({error})", field="dataset"
        ) from error
    path_column = _column(header, PATH_COLUMNS, path)
    label_column = _column(header, LABEL_COLUMNS, path)
    has_split = "split" in header
    groups: dict[str | None, list[Item]] = {}
    for number, row in enumerate(rows, start=2):
        name, label = (row[path_column] or "").strip(), (row[label_column] or "").strip()
        if not name or not label:
            raise DataError(
                f"{path.name}, line {number}: no {path_column if not name else label_column}",
                field="dataset",
            )
        row_split = (row["split"] or "").strip() if has_split else None
        if row_split is not None and row_split not in SPLITS:
            raise DataError(
                f"{path.name}, line {number}: split {row_split!r} is none of {', '.join(SPLITS)}",
                field="dataset",
            )
        groups.setdefault(row_split, []).append(Item(name, path.parent / name, label))
    return groups


def _column(header: Sequence[str], names: Sequence[str], path: Path) -> str:
    for name in names:
        if name in header:
            return name
    raise DataError(
        f"{path.name}: no column named {' or '.join(names)}; it has {', '.join(header) or 'none'}",
        field="dataset",
    )
