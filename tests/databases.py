"""Fresh databases on a Postgres server: each test gets its own, copied from a migrated one."""

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
from tests.programs import one_at_a_time


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

    @contextlib.contextmanager
    def fresh(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a new database, at the newest revision or empty, dropped afterwards."""
        template = self._migrated() if migrated else "template1"
        name = _identifier(f"{self._folder.name}_{os.getpid()}_{next(self._count)}")
        self._create(name, template)
        try:
            yield self._url_of(name)
        finally:
            self._drop(name)

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

    def _create(self, name: str, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._do(statement.format(sql.Identifier(name), sql.Identifier(template)))

    def _drop(self, name: str) -> None:
        self._do(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _do(self, statement: sql.Composed) -> None:
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement)

    def _url_of(self, name: str) -> str:
        url = self._url.set(drivername="postgresql", database=name)
        return url.render_as_string(hide_password=False)


def _identifier(text: str) -> str:
    """Lower case, without what would need quoting, and short enough for Postgres."""
    return "".join(c if c.isalnum() else "_" for c in text.lower())[-63:]
