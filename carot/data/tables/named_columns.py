"""The columns of a table by name, compared in lower case, without blanks, `_`, `-` and `.`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from carot.data.tables.reader import Table
from carot.errors import DataError


def plain(name: str) -> str:
    """The name of a column as it is compared: `File Name` is `filename`."""
    return re.sub(r"[\s_.-]+", "", name).lower()


class NamedColumns:
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
                    raise DataError(f"{self.table.name}: two columns named {name}", field="dataset")
                return self.names.index(name)
        return None

    def values(self, column: int) -> list[str]:
        """What stands in a column."""
        return [row[column] for row in self.table.rows]

    def where(self, row: int) -> str:
        """A row, for messages."""
        return f"{self.table.name}, {self.table.unit} {self.table.lines[row]}"

    def lacks(self, what: str, names: Sequence[str]) -> DataError:
        """The error of a table without one of these columns, which lists those that it has."""
        listed = ", ".join(self.table.header) or "none"
        return DataError(
            f"{self.table.name}: no column named {', '.join(names[:-1])} or {names[-1]}, for "
            f"{what}; its columns are {listed[:500]}. Rename the one that is meant, or remove the "
            "file if it has nothing to do with the images",
            field="dataset",
        )
