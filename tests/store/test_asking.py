"""Single statements that only read, apart from everybody's transactions."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from store.database import Database
from store.projects import ensure_project


def test_it_waits_for_no_connection_that_others_hold(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'carot.db'}")
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    with ExitStack() as stack:
        for _ in range(pool.size() + pool._max_overflow):
            stack.enter_context(database.engine.connect())
        with database.asking() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    database.close()


def test_it_sees_at_once_what_was_committed(database: Database) -> None:
    count = text("SELECT count(*) FROM projects")
    with database.asking() as connection:
        before = connection.execute(count).scalar_one()
        with database.session() as session:
            ensure_project(session, "another")
        assert connection.execute(count).scalar_one() == before + 1
