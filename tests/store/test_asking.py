"""Single statements that only read, apart from everybody's transactions."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from store.access.projects import ensure_project
from store.database import Database


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


def test_a_version_is_another_after_every_change_of_anybody(tmp_path: Path) -> None:
    ours, theirs = (Database(f"sqlite:///{tmp_path / 'carot.db'}") for _ in range(2))
    ours.upgrade()
    for number, database in enumerate((ours, theirs, ours)):
        before = ours.version()
        with ours.asking() as connection:
            connection.execute(text("SELECT count(*) FROM projects")).scalar_one()
        assert ours.version() == before
        with database.session() as session:
            ensure_project(session, f"project-{number}")
            assert ours.version() == before  # nobody sees it yet
        assert ours.version() != before
    ours.close()
    theirs.close()
