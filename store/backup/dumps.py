"""Tables as lines of JSON and back, on either database, whatever tables and columns there are.

Columns come from the database itself, so a dump belongs to the revision of its schema. Moments are
ISO 8601 in UTC, binary is base64, JSON stays what it is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    func,
    insert,
    select,
    text,
    update,
)

BATCH = 200
"""Rows that are read or written at once."""
Line = dict[str, Any]


@dataclass(frozen=True)
class Schema:
    """Tables in an order in which rows find those that they refer to.

    Attributes:
        late: by table, columns that refer in a circle, or to rows of their own table; they get
            their values once all rows are there.
    """

    tables: tuple[Table, ...]
    late: Mapping[str, frozenset[str]]


def reflect(connection: Connection, without: Iterable[str] = ()) -> Schema:
    """The schema of a database, but for some tables."""
    metadata = MetaData()
    metadata.reflect(connection)
    for name in without:
        if name in metadata.tables:
            metadata.remove(metadata.tables[name])
    late = [
        key
        for table in metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table is table
    ]
    tables = _ordered(metadata, late)
    for column in (column for table in tables for column in table.columns):
        if isinstance(column.type, JSON):
            column.type.none_as_null = True  # NULL is read as None, and so comes back as NULL
    columns: dict[str, set[str]] = {table.name: set() for table in tables}
    for key in late:
        columns[key.parent.table.name].add(key.parent.name)
    return Schema(tuple(tables), {name: frozenset(each) for name, each in columns.items()})


def _ordered(metadata: MetaData, late: list[ForeignKey]) -> list[Table]:
    """Tables behind those that they refer to; what closes a circle is added to `late`."""
    keys = [
        key
        for table in metadata.tables.values()
        for key in sorted(table.foreign_keys, key=lambda key: key.parent.name)
    ]
    while True:
        graph: dict[str, set[str]] = {name: set() for name in sorted(metadata.tables)}
        for key in keys:
            if key not in late:
                graph[key.parent.table.name].add(key.column.table.name)
        try:
            return [metadata.tables[name] for name in TopologicalSorter(graph).static_order()]
        except CycleError as error:
            circle = set(error.args[1])
            late.append(
                next(
                    key
                    for key in keys
                    if key not in late
                    and key.parent.nullable
                    and {key.parent.table.name, key.column.table.name} <= circle
                )
            )


def dump(
    connection: Connection, table: Table, only: ColumnElement[bool] | None = None
) -> Iterator[bytes]:
    """Rows by primary key, one line each, never more than a batch of them in memory."""
    query = select(table).order_by(*table.primary_key.columns)
    if only is not None:
        query = query.where(only)
    for row in connection.execution_options(yield_per=BATCH).execute(query).mappings():
        line = {column.name: _encode(row[column.name]) for column in table.columns}
        yield json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"


class Loader:
    """Writes lines of all tables into an empty database, in one transaction of the caller's."""

    def __init__(self, connection: Connection, schema: Schema) -> None:
        self._connection = connection
        self._late = schema.late
        self._waiting: list[tuple[Table, Line]] = []

    def load(self, table: Table, lines: Iterable[Line]) -> int:
        """Write rows; the tables must come in the order of the schema.

        Returns:
            How many rows there were.

        Raises:
            ValueError: a line does not have the table's columns.
        """
        count = 0
        batch: list[Line] = []
        for line in lines:
            batch.append(self._row(table, line))
            count += 1
            if len(batch) == BATCH:
                self._connection.execute(insert(table), batch)
                batch = []
        if batch:
            self._connection.execute(insert(table), batch)
        return count

    def finish(self) -> None:
        """Write what had to wait for other rows, and let counters go on behind what was written."""
        for table, row in self._waiting:
            here = [column == row[column.name] for column in table.primary_key.columns]
            late = {name: row[name] for name in self._late[table.name]}
            self._connection.execute(update(table).where(*here).values(late))
        self._waiting.clear()

    def count_on(self, table: Table) -> None:
        """Let Postgres' own counter of a table go on behind the rows that were written."""
        if self._connection.dialect.name != "postgresql":
            return
        for column in table.primary_key.columns:
            if not isinstance(column.type, Integer):
                continue
            name = {"table": table.name, "column": column.name}
            query = text("SELECT pg_get_serial_sequence(quote_ident(:table), :column)")
            counter = self._connection.scalar(query, name)
            last = self._connection.scalar(select(func.max(column)))
            if counter is not None and last is not None:
                self._connection.execute(select(func.setval(counter, last)))

    def _row(self, table: Table, line: Line) -> Line:
        if set(line) != set(table.columns.keys()):
            raise ValueError(f"a line does not have the columns of {table.name}")
        row = {
            column.name: self._decode(column.type, line[column.name]) for column in table.columns
        }
        late = self._late[table.name]
        if any(row[name] is not None for name in late):
            self._waiting.append((table, row))
            return row | dict.fromkeys(late)
        return row

    def _decode(self, type: Any, value: Any) -> Any:
        match type:
            case DateTime() if value is not None:
                moment = datetime.fromisoformat(value)
                sqlite = self._connection.dialect.name == "sqlite"
                return moment.replace(tzinfo=None) if sqlite else moment
            case LargeBinary() if value is not None:
                return base64.b64decode(value, validate=True)
            case _:
                return value


def _encode(value: Any) -> Any:
    match value:
        case datetime():
            aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return aware.astimezone(UTC).isoformat()
        case bytes() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case _:
            return value
