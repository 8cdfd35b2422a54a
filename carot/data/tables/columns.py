"""What the columns of a table mean: which image, of which class and split, with what caption."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from carot.data.labels import settle, unlabelled
from carot.data.tables.named_columns import NamedColumns
from carot.data.tables.reader import Table
from carot.data.tables.split_columns import (
    FALSE,
    FLAGS,
    PERHAPS_SPLIT_COLUMNS,
    SPLIT_COLUMNS,
    TRUE,
    splits_of,
)
from carot.errors import DataError
from carot.warnings import CodedWarning

PATH_COLUMNS = (
    "filepath", "path", "image", "filename", "file", "imagepath", "imagefile", "imagename",
    "imageid", "img", "imgpath", "imgname", "imgid", "fname", "filepaths", "filenames", "paths",
    "images", "picture", "id",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "class", "labels", "classname", "classlabel", "category", "target", "choice",
    "classes", "labelname", "classid", "labelid", "categoryid",
)  # fmt: skip
CAPTION_COLUMNS = ("title", "caption", "captions")
TEXT_COLUMNS = ("text", "description")
"""Captions as well, but only looked at where no column names classes."""
SEVERAL = re.compile(r"\s*[\[{].*[\]}]\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedImage:
    """One row: an image as the table names it.

    Attributes:
        split: None where the table has no splits.
        caption: None where it has no captions.
        where: the row, for messages.
    """

    name: str
    label: str
    split: str | None
    caption: str | None
    where: str


@dataclass(frozen=True)
class Understood:
    """The rows of a table.

    Attributes:
        images: those with a label.
        unlabelled: what the others name.
    """

    images: Sequence[NamedImage]
    unlabelled: Sequence[str]
    label_column: str
    warnings: Sequence[CodedWarning] = ()


def understand(table: Table) -> Understood:
    """The images that a table names.

    Raises:
        DataError: no column of images or of classes (all that there are are listed), a row without
            an image, with two classes, or with a split that is none; no row with a label.
    """
    columns = NamedColumns(table)
    paths = columns.first(PATH_COLUMNS)
    if paths is None:
        raise columns.lacks("images", PATH_COLUMNS[:4])
    labels, label_column = _labels(columns)
    captions = columns.first(CAPTION_COLUMNS)
    if label_column == captions:
        captions = None
    splits, warnings = splits_of(columns)
    settled = settle(labels, table.name)
    images, without = [], []
    for i, row in enumerate(table.rows):
        where, label = columns.where(i), settled.labels[i]
        if not row[paths]:
            raise _refused(f"{where}: no {table.header[paths]}")
        if label is None:
            without.append(row[paths])
        else:
            caption = None if captions is None else row[captions] or None
            images.append(NamedImage(row[paths], label, splits[i], caption, where))
    if not images:
        raise _refused(f"{table.name}: not one row has a label ({_name(table, label_column)})")
    said = (*warnings, *settled.warnings, *unlabelled(len(without), len(table.rows), table.name))
    return Understood(images, without, _name(table, label_column), said)


def _labels(columns: NamedColumns) -> tuple[list[str | None], int | None]:
    """The label of each row as it is written, and the column; None for one column a class."""
    found = columns.first(LABEL_COLUMNS)
    text = columns.first((*CAPTION_COLUMNS, *TEXT_COLUMNS))
    column = text if found is None else _worded(columns, found)
    if column is None:
        return list(_from_one_hot(columns)), None
    values = columns.values(column)
    for i, value in enumerate(values):
        if SEVERAL.fullmatch(value):
            raise _refused(
                f"{columns.where(i)}: {value[:80]} is more than one class; an image has one"
            )
    return list(values), column


def _worded(columns: NamedColumns, column: int) -> int:
    """Another column of classes that has names for the numbers of `column`, or that one."""
    values = columns.values(column)
    if not settle(values, "").are_indices:
        return column
    for other, name in enumerate(columns.names):
        if other == column or name not in LABEL_COLUMNS:
            continue
        words = columns.values(other)
        pairs = set(zip(values, words, strict=True))
        if len(pairs) == len(set(values)) == len(set(words)) and not settle(words, "").are_indices:
            return other
    return column


def _from_one_hot(columns: NamedColumns) -> list[str]:
    """The class of each row where every class has a column of zeros and ones.

    Raises:
        DataError: there are no two such columns, or a row has two ones.
    """
    table = columns.table
    others = (*PATH_COLUMNS, *SPLIT_COLUMNS, *PERHAPS_SPLIT_COLUMNS, *FLAGS)
    classes = [
        i
        for i, name in enumerate(columns.names)
        if name not in others
        and table.rows
        and {v.lower() for v in columns.values(i)} <= TRUE | FALSE
    ]
    if len(classes) < 2:
        raise columns.lacks("classes", (*LABEL_COLUMNS[:2], CAPTION_COLUMNS[0]))
    labels = []
    for number, row in enumerate(table.rows):
        chosen = [table.header[i] for i in classes if row[i].lower() in TRUE]
        if len(chosen) > 1:
            raise _refused(
                f"{columns.where(number)}: {' and '.join(chosen[:3])} are all 1; an image has "
                "one class"
            )
        labels.append(chosen[0] if chosen else "")
    return labels


def _name(table: Table, column: int | None) -> str:
    return "one column a class" if column is None else table.header[column]


def _refused(message: str) -> DataError:
    return DataError(message, field="dataset")
