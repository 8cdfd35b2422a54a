"""Which column of a table says the split of each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from carot.data.splits import SPLITS, is_split_word, split_named
from carot.data.tables.named_columns import NamedColumns
from carot.errors import DataError
from carot.warnings import CodedWarning

SPLIT_COLUMNS = ("split", "subset", "splits", "datasplit", "partition")
PERHAPS_SPLIT_COLUMNS = ("set", "dataset", "phase", "usage", "fold", "kfold", "folds", "mode")
"""Splits where a value is the word of one; of another meaning where none is."""
FLAGS = {
    "isvalid": "validation", "isval": "validation", "isvalidation": "validation",
    "istest": "test", "istrain": "train", "istraining": "train", "istrainingimage": "train",
}  # fmt: skip
"""True where an image is in this split."""
TRUE, FALSE = frozenset({"1", "true", "yes", "1.0"}), frozenset({"0", "false", "no", "0.0", ""})


def splits_of(columns: NamedColumns) -> tuple[list[str | None], list[CodedWarning]]:
    """The split of each row, None where the table has no splits, and what is not used.

    Raises:
        DataError: a row whose split is none.
    """
    table = columns.table
    rows = len(table.rows)
    column = columns.first(SPLIT_COLUMNS)
    unused = [
        table.header[i]
        for i, name in enumerate(columns.names)
        if name in SPLIT_COLUMNS and i != column
    ]
    if column is None:
        for i, name in enumerate(columns.names):
            if name in PERHAPS_SPLIT_COLUMNS and rows:
                if any(map(is_split_word, columns.values(i))):
                    column = i
                else:
                    unused.append(table.header[i])
    if column is not None:
        return [_split(columns, column, i) for i in range(rows)], _unused(table.name, unused)
    flags = {i: split for i, name in enumerate(columns.names) if (split := FLAGS.get(name))}
    if flags and all({v.lower() for v in columns.values(i)} <= TRUE | FALSE for i in flags):
        return [_flagged(columns, flags, i) for i in range(rows)], _unused(table.name, unused)
    unused += [table.header[i] for i in flags]
    return [None] * rows, _unused(table.name, unused)


def _unused(name: str, columns: Sequence[str]) -> list[CodedWarning]:
    if not columns:
        return []
    message = f"{name}: {', '.join(columns)} might name splits and is not used"
    return [CodedWarning(code="columns_not_used", message=message)]


def _split(columns: NamedColumns, column: int, row: int) -> str:
    value = columns.table.rows[row][column]
    split = split_named(value)
    if split is None:
        raise DataError(
            f"{columns.where(row)}: {columns.table.header[column]} {value[:80]!r} is none of "
            f"{', '.join(SPLITS)}",
            field="dataset",
        )
    return split


def _flagged(columns: NamedColumns, flags: Mapping[int, str], row: int) -> str:
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
        raise DataError(f"{columns.where(row)}: {names} say no one split", field="dataset")
    return said.pop()
