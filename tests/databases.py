"""Fresh databases on a Postgres server: each test gets its own, at the newest revision or empty.

The first is copied from a migrated one. To make and to drop a database takes Postgres half a second
and more, to delete a few rows a hundredth of it. So a migrated database is used again once its test
is over: it gets another name, under which whoever is left of that test does not find it, and its
rows are deleted. One whose schema is not what it was, or that has grown, is dropped.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from store.database import Database
from store.tables import Base
from tests.programs import one_at_a_time

MOST_BYTES = 32 << 20
"""A database that is larger is faster made anew than emptied."""
SCHEMA = """
    SELECT md5(string_agg(described, ',' ORDER BY described)) FROM (
        SELECT concat_ws(' ', relname, relkind, attnum, attname, atttypid, atttypmod, attnotnull,
                         attstorage, pg_get_expr(adbin, adrelid)) AS described
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT concat_ws(' ', conname, conrelid::regclass, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT proname || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast_temp)'
    ) AS parts
"""
BYTES = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
Rows = list[tuple[object, ...]]


class PostgresServer:
    """A server whose role may create databases.

    Args:
        url: any database of it; only used to create and drop others.
        folder: shared by the processes of one test session; its name keeps sessions apart.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self._url = make_url(url)
        self._folder = folder
        self._template = _identifier(f"template_{folder.name}")
        self._count = itertools.count()
        self._idle: list[str] = []
        self._schema: object = None
        self._first_rows: dict[str, Rows] = {}

    @contextlib.contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a new database, at the newest revision or empty, gone afterwards."""
        name = self._new_name()
        if not migrated:
            self._create(name, "template1")
        elif self._idle:
            self._rename(self._idle.pop(), name)
        else:
            self._create(name, self._migrated())
        try:
            yield self._url_of(name)
        finally:
            if not (migrated and self._take_back(name)):
                self._drop(name)

    def close(self) -> None:
        """Drop what waits to be used again."""
        while self._idle:
            self._drop(self._idle.pop())

    def forget(self) -> None:
        """Drop the migrated database that the others were copied from, if there is one."""
        if self._note.exists():
            self._drop(self._template)

    @property
    def _note(self) -> Path:
        return self._folder / "template.made"

    def _migrated(self) -> str:
        with one_at_a_time(self._folder / "template.lock"):
            if not self._note.exists():
                self._create(self._template, "template1")
                database = Database(self._url_of(self._template))
                database.upgrade()
                database.close()
                self._note.touch()
        return self._template

    def _take_back(self, name: str) -> bool:
        """Make a database what it was, under another name; whether that could be done."""
        idle = self._new_name()
        with contextlib.suppress(psycopg.errors.ObjectInUse):
            self._rename(name, idle)
            try:
                with psycopg.connect(self._url_of(idle)) as connection:
                    cleaned = self._clean(connection)
            except BaseException:
                self._drop(idle)
                raise
            if cleaned:
                self._idle.append(idle)
            else:
                self._drop(idle)
            return True
        return False

    def _clean(self, connection: psycopg.Connection) -> bool:
        if self._schema is None:
            self._look_at_first()
        schema, size = (connection.execute(query).fetchone() for query in (SCHEMA, BYTES))
        if schema != self._schema or size is None or size[0] > MOST_BYTES:
            return False
        # What refers to other rows goes first, and comes last.
        for table in reversed(self._first_rows):
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        for table, rows in self._first_rows.items():
            for row in rows:
                places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
                insert = sql.SQL("INSERT INTO {} VALUES ({})")
                connection.execute(insert.format(sql.Identifier(table), places), row)
        return True

    def _look_at_first(self) -> None:
        """What a migrated database is like before anybody uses it."""
        with psycopg.connect(self._url_of(self._template)) as connection:
            self._schema = connection.execute(SCHEMA).fetchone()
            tables = ["alembic_version", *(table.name for table in Base.metadata.sorted_tables)]
            self._first_rows = {name: _rows(connection, name) for name in tables}

    def _rename(self, name: str, other: str) -> None:
        """Whoever is connected is put out.

        Raises:
            psycopg.errors.ObjectInUse: somebody came back at once.
        """
        end = sql.SQL(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = {} AND pid <> pg_backend_pid()"
        )
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        self._do(
            end.format(sql.Literal(name)),
            rename.format(sql.Identifier(name), sql.Identifier(other)),
        )

    def _new_name(self) -> str:
        return _identifier(f"{self._folder.name}_{os.getpid()}_{next(self._count)}")

    def _create(self, name: str, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._do(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def _drop(self, name: str) -> None:
        self._do(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _do(self, *statements: sql.Composed) -> None:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _url_of(self, name: str) -> str:
        url = self._url.set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)


def _rows(connection: psycopg.Connection, table: str) -> Rows:
    return connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))).fetchall()


def _identifier(text: str) -> str:
    """Lower case, without what would need quoting, and short enough for Postgres."""
    return "".join(c if c.isalnum() else "_" for c in text.lower())[-63:]
