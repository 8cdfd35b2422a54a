from __future__ import annotations

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text

from store.database import Database
from store.schema import alembic_config
from store.tables import Base

NEWEST = ScriptDirectory.from_config(alembic_config(make_url("sqlite://"))).get_current_head()


def test_migrations_and_tables_are_the_same_schema(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    before = set(inspect(database.engine).get_table_names())
    database.upgrade()
    assert set(inspect(database.engine).get_table_names()) == before


@pytest.mark.slow
def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    command = [sys.executable, "-m", "migrations.upgrade", database_url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    database = Database(database_url)
    with database.reading() as session:
        assert session.scalars(text("SELECT version_num FROM alembic_version")).all() == [NEWEST]
    database.close()


def test_chunks_are_stored_uncompressed_on_postgres(database: Database) -> None:
    if database.is_sqlite:
        return
    query = "SELECT attstorage FROM pg_attribute WHERE attname = 'data' AND attrelid = "
    with database.reading() as session:
        assert session.scalar(text(query + "'blob_chunks'::regclass")) in ("e", b"e")
