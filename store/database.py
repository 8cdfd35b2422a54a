"""The connection to SQLite or Postgres, transactions, and the database's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Dialect, create_engine, event, inspect, text
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.expression import ColumnElement
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeDecorator

READING = "carot_reading"
BUSY_MILLISECONDS = 30_000


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its zone, UTC, on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_now(ColumnElement[datetime]):  # noqa: N801 - reads like the SQL function
    """The database's clock, `seconds` from now: workers' clocks may differ, leases must not."""

    # What its SQL depends on, so that statements with it are compiled once and not each time.
    _traverse_internals = [("seconds", InternalTraversal.dp_plain_obj)]  # noqa: RUF012
    type = UtcDateTime()

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = float(seconds)


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: Any, **kw: Any) -> str:
    # The format that SQLAlchemy writes, so that text compares as time does.
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{element.seconds:+.3f} seconds')"


@compiles(database_now, "postgresql")
def _postgres_now(element: database_now, compiler: Any, **kw: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {element.seconds:.3f}))"


class Database:
    """One database.

    Args:
        url: `sqlite:///path` or `postgresql://…`; the driver is chosen here.
    """

    def __init__(self, url: str) -> None:
        self.url = _with_driver(make_url(url))
        if self.is_sqlite and self.url.database not in (None, "", ":memory:"):
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(
            self.url,
            pool_pre_ping=not self.is_sqlite,
            hide_parameters=True,  # secrets and hashes of secrets are among them
        )
        if self.is_sqlite:
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._write = sessionmaker(self.engine, expire_on_commit=False)
        self._read = sessionmaker(
            self.engine.execution_options(**{READING: True}), expire_on_commit=False
        )
        self._ask = self._asking_engine()
        self._watching: PoolProxiedConnection | None = None

    def _asking_engine(self) -> Engine:
        if not self.is_sqlite:
            return self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # A pool of its own, so that the event loop never waits for connections that writers hold.
        # Without a transaction is how the driver is set up anyway (below).
        engine = create_engine(self.url, hide_parameters=True)
        event.listen(engine, "connect", _configure_sqlite)
        return engine

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back when the block raises."""
        with self._write.begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that only reads; on SQLite it waits for no writer."""
        with self._read.begin() as session:
            yield session

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """For single statements that only read: there is no transaction around them to pay for."""
        with self._ask.connect() as connection:
            yield connection

    def version(self) -> int:
        """Of SQLite: a number that is another after every change that anybody has committed.

        To be called by one thread at a time; it takes a hundredth of a millisecond.
        """
        assert self.is_sqlite
        if self._watching is None:
            # Kept, since connections number changes each for itself, and never written with, since
            # its own it would not count.
            self._watching = self._ask.raw_connection()
        cursor = self._watching.cursor()
        cursor.execute("PRAGMA data_version")
        row = cursor.fetchone()
        assert row is not None
        return int(row[0])

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One transaction that only reads, and sees everything as it was at one moment."""
        options: dict[str, Any] = {READING: True}
        if not self.is_sqlite:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def revision(self) -> str | None:
        """The revision of the schema; None when there is no database of ours."""
        name = self.url.database
        if self.is_sqlite and name and not Path(name).exists():
            return None  # looking would make it
        with self.snapshot() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            # Empty where the first migration was interrupted.
            found = connection.execute(text("SELECT version_num FROM alembic_version"))
            return found.scalar_one_or_none()

    def upgrade(self, revision: str = "head") -> None:
        """Bring the schema to a revision, the newest by default.

        Raises:
            WrongSchema: a newer release has written it.
        """
        from store.schema import check_known, upgrade

        check_known(self.revision())
        upgrade(self.url, revision)

    def close(self) -> None:
        """Close every connection."""
        if self._watching is not None:
            self._watching.close()
            self._watching = None
        self._ask.dispose()
        self.engine.dispose()


def revision_of(connection: Connection) -> str:
    """The revision of the schema of a database of ours."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _with_driver(url: URL) -> URL:
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    return url


def _configure_sqlite(connection: Any, record: Any) -> None:
    # Transactions are begun below; the driver must not begin any of its own.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={BUSY_MILLISECONDS}",  # first: the next one may have to wait
        "journal_mode=WAL",
        "foreign_keys=ON",
        "synchronous=NORMAL",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that may write takes the write lock first: one that reads and then writes would
    # fail at once, without waiting, when another wrote in between.
    reading = connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
