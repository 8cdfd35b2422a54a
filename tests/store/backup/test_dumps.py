"""Lines of JSON and back: every kind of column, circles of references, either database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    insert,
    select,
    text,
)

from store.backup.dumps import BATCH, Loader, dump, reflect
from store.column_types import Document
from store.database import Database, UtcDateTime
from store.tables import Base

MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
DOCUMENT = {"a": [1, 2.5, None, True, "ü\u2028\n"], "b": {}, "big": 2**60, "tiny": 5e-324}

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("parent_id", Integer, ForeignKey("things.id", name="parent")),
    Column("best_part", String(20), ForeignKey("parts.id", name="best", use_alter=True)),
    Column("moment", DateTime(timezone=True).with_variant(UtcDateTime(), "sqlite")),
    Column("document", Document()),
    Column("data", LargeBinary),
    Column("number", Float(53)),
    Column("count", BigInteger),
    Column("flag", Boolean),
    Column("words", String),
)  # fmt: skip
parts = Table(
    "parts",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("thing_id", Integer, ForeignKey("things.id", name="thing"), nullable=False),
)
ROWS: list[dict[str, Any]] = [
    {"id": 1, "parent_id": 3, "best_part": "p1", "moment": MOMENT, "document": DOCUMENT,
     "data": bytes(range(256)), "number": 0.1 + 0.2, "count": 2**62, "flag": True,
     "words": 'quote " \\ \t \U0001f600 end'},
    {"id": 2, "parent_id": None, "best_part": None, "moment": None, "document": None,
     "data": b"", "number": None, "count": None, "flag": False, "words": ""},
    {"id": 3, "parent_id": 1, "best_part": None, "moment": datetime(1, 1, 1, tzinfo=UTC),
     "document": [], "data": None, "number": -0.0, "count": -1, "flag": None, "words": None},
]  # fmt: skip


@pytest.fixture
def empty(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.close()


def fill(database: Database) -> None:
    with database.engine.begin() as connection:
        metadata.create_all(connection)
        late = ("parent_id", "best_part")
        connection.execute(insert(things), [row | dict.fromkeys(late) for row in ROWS])
        connection.execute(insert(parts), [{"id": "p1", "thing_id": 2}])
        for row in ROWS:
            values = {name: row[name] for name in late}
            connection.execute(things.update().where(things.c.id == row["id"]).values(values))


def clear(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(things.update().values(parent_id=None, best_part=None))
        connection.execute(parts.delete())
        connection.execute(things.delete())


def lines_of(database: Database) -> dict[str, list[bytes]]:
    with database.snapshot() as connection:
        return {table.name: list(dump(connection, table)) for table in reflect(connection).tables}


def load(database: Database, dumped: dict[str, list[bytes]]) -> None:
    with database.engine.begin() as connection:
        schema = reflect(connection)
        loader = Loader(connection, schema)
        for table in schema.tables:
            loader.load(table, map(json.loads, dumped[table.name]))
        loader.finish()
        for table in schema.tables:
            loader.count_on(table)


def test_every_value_comes_back_as_it_was(empty: Database, tmp_path: Any) -> None:
    """Through the other database too: what SQLite dumps Postgres reads, and back."""
    fill(empty)
    dumped = lines_of(empty)
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    metadata.create_all(other.engine)
    load(other, dumped)
    clear(empty)
    load(empty, lines_of(other))
    for database in (empty, other):
        with database.engine.connect() as connection:
            found = [
                dict(row)
                for row in connection.execute(select(things).order_by(things.c.id)).mappings()
            ]
            assert found == [
                row | {"moment": row["moment"].astimezone(UTC) if row["moment"] else None}
                for row in ROWS
            ]
            nulls = text("SELECT count(*) FROM things WHERE document IS NULL")
            assert connection.scalar(nulls) == 1
            assert connection.execute(select(parts)).all() == [("p1", 2)]
    other.close()


def test_counters_go_on_behind_what_was_written(empty: Database) -> None:
    fill(empty)
    dumped = lines_of(empty)
    clear(empty)
    load(empty, dumped)
    with empty.engine.begin() as connection:
        made = connection.execute(insert(things).values(words="new")).inserted_primary_key
    assert made == (4,)


def test_many_rows_come_in_batches(empty: Database) -> None:
    fill(empty)
    more = [{"id": i, "words": str(i)} for i in range(10, 10 + 3 * BATCH)]
    with empty.engine.begin() as connection:
        connection.execute(insert(things), more)
    dumped = lines_of(empty)
    assert len(dumped["things"]) == 3 + 3 * BATCH
    clear(empty)
    load(empty, dumped)
    assert lines_of(empty) == dumped


def test_a_line_of_another_table_is_refused(empty: Database) -> None:
    fill(empty)
    dumped = lines_of(empty)
    with pytest.raises(ValueError, match="columns of things"):
        load(empty, {"things": dumped["parts"], "parts": []})


def test_every_table_of_the_service_is_there_and_in_order(database: Database) -> None:
    with database.snapshot() as connection:
        schema = reflect(connection)
    names = [table.name for table in schema.tables]
    assert set(names) == {*Base.metadata.tables, "alembic_version"}
    for table in schema.tables:
        for key in table.foreign_keys:
            if key.parent.name not in schema.late[table.name]:
                assert names.index(key.column.table.name) < names.index(table.name)
