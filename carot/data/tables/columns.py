"""What the columns of a table mean: which image, of which class, in which split, with what caption.

Names are compared in lower case, without blanks, `_`, `-` and `.`: `File Name` is `filename`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carot.data.labels import settle, unlabelled
from carot.data.splits import SPLITS, is_split_word, split_named
from carot.data.tables.reader import Table
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
SPLIT_COLUMNS = ("split", "subset", "splits", "datasplit", "partition")
PERHAPS_SPLIT_COLUMNS = ("set", "dataset", "phase", "usage", "fold", "kfold", "folds", "mode")
"""Splits where a value is the word of one; of another meaning where none is."""
FLAGS = {
    "isvalid": "validation", "isval": "validation", "isvalidation": "validation",
    "istest": "test", "istrain": "train", "istraining": "train", "istrainingimage": "train",
}  # fmt: skip
"""True where an image is in this split."""
TRUE, FALSE = frozenset({"1", "true", "yes", "1.0"}), frozenset({"0", "false", "no", "0.0", ""})
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
    columns = _Columns(table)
    paths = columns.first(PATH_COLUMNS)
    if paths is None:
        raise columns.lacks("images", PATH_COLUMNS[:4])
    labels, label_column = _labels(columns)
    captions = columns.first(CAPTION_COLUMNS)
    if label_column == captions:
        captions = None
    splits, warnings = _splits(columns)
    settled = settle(labels, table.name)
    images, without = [], []
    for i, row in enumerate(table.rows):
        where, label = f"{table.name}, line {table.lines[i]}", settled.labels[i]
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


def plain(name: str) -> str:
    """The name of a column as it is compared: `File Name` is `filename`."""
    return re.sub(r"[\s_.-]+", "", name).lower()


class _Columns:
    """The columns of a table by their plain names."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names = [plain(name) for name in table.header]

    def first(self, wanted: Sequence[str]) -> int | None:
        """The column with the first of these names that there is.

        Raises:
            DataError: two columns have it.
        """
        for name in wanted:
            if name in self.names:
                if self.names.count(name) > 1:
                    raise _refused(f"{self.table.name}: two columns named {name}")
                return self.names.index(name)
        return None

    def values(self, column: int) -> list[str]:
        return [row[column] for row in self.table.rows]

    def lacks(self, what: str, names: Sequence[str]) -> DataError:
        listed = ", ".join(self.table.header) or "none"
        return _refused(
            f"{self.table.name}: no column named {', '.join(names[:-1])} or {names[-1]}, for "
            f"{what}; its columns are {listed[:500]}. Rename the one that is meant, or remove the "
            "file if it has nothing to do with the images"
        )


def _labels(columns: _Columns) -> tuple[list[str | None], int | None]:
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
                f"{columns.table.name}, line {columns.table.lines[i]}: {value[:80]} is more than "
                "one class; an image has one"
            )
    return list(values), column


def _worded(columns: _Columns, column: int) -> int:
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


def _from_one_hot(columns: _Columns) -> list[str]:
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
    for line, row in zip(table.lines, table.rows, strict=True):
        chosen = [table.header[i] for i in classes if row[i].lower() in TRUE]
        if len(chosen) > 1:
            raise _refused(
                f"{table.name}, line {line}: {' and '.join(chosen[:3])} are all 1; an image has "
                "one class"
            )
        labels.append(chosen[0] if chosen else "")
    return labels


def _splits(columns: _Columns) -> tuple[list[str | None], list[CodedWarning]]:
    table = columns.table
    rows = len(table.rows)
    column = columns.first(SPLIT_COLUMNS)
    unused = []
    if column is None:
        for i, name in enumerate(columns.names):
            if name in PERHAPS_SPLIT_COLUMNS and rows:
                if any(map(is_split_word, columns.values(i))):
                    column = i
                else:
                    unused.append(table.header[i])
    if column is not None:
        return [_split(columns, column, i) for i in range(rows)], []
    flags = {i: split for i, name in enumerate(columns.names) if (split := FLAGS.get(name))}
    if flags and all({v.lower() for v in columns.values(i)} <= TRUE | FALSE for i in flags):
        return [_flagged(columns, flags, i) for i in range(rows)], []
    unused += [table.header[i] for i in flags]
    if not unused:
        return [None] * rows, []
    message = f"{table.name}: {', '.join(unused)} does not name splits and is not used"
    return [None] * rows, [CodedWarning(code="columns_not_used", message=message)]


def _split(columns: _Columns, column: int, row: int) -> str:
    value = columns.table.rows[row][column]
    split = split_named(value)
    if split is None:
        raise _refused(
            f"{columns.table.name}, line {columns.table.lines[row]}: "
            f"{columns.table.header[column]} {value[:80]!r} is none of {', '.join(SPLITS)}"
        )
    return split


def _flagged(columns: _Columns, flags: Mapping[int, str], row: int) -> str:
    """The split whose flag is set; where none is, what no flag is for: training, or test.

    Raises:
        DataError: several are set, or none where each has one.
    """
    values = columns.table.rows[row]
    said = {split for i, split in flags.items() if values[i].lower() in TRUE}
    if not said:
        said.update([each for each in ("train", "test") if each not in flags.values()][:1])
    if len(said) != 1:
        names = " and ".join(columns.table.header[i] for i in flags)
        raise _refused(
            f"{columns.table.name}, line {columns.table.lines[row]}: {names} say no one split"
        )
    return said.pop()


def _name(table: Table, column: int | None) -> str:
    return "one column a class" if column is None else table.header[column]


def _refused(message: str) -> DataError:
    return DataError(message, field="dataset")
