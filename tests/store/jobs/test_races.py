"""Two who want something of one job at the same moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import func, select, text

from store.database import Database
from store.jobs.claims import release
from store.jobs.events import list_events
from store.jobs.jobs import cancel_job
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.models.aliases import alias_history, get_alias, set_alias
from store.tables import DEFAULT_PROJECT, JobEvent
from tests.store.conftest import claimed, new_job
from tests.store.test_nouns import a_checkpoint

pytestmark = pytest.mark.slow

WAITS = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

WRITER = """
import sys
from store.database import Database
from store.jobs.claims import beat, claim, record_event, succeed
from store.jobs.jobs import create_job
from store.tables import DEFAULT_PROJECT
from tests.store.conftest import SPEC

database = Database(sys.argv[1])
for _ in range(3):
    with database.session() as session:
        job_id = create_job(session, SPEC, project=DEFAULT_PROJECT).id
    with database.session() as session:
        held = claim(session, job_id, "w", 60)
    for step in range(10):
        with database.session() as session:
            beat(session, held, 60, {"step": step})
            record_event(session, held, "phase_started", "training")
    with database.session() as session:
        succeed(session, held)
"""


def until_somebody_waits(database: Database) -> None:
    """Until a transaction waits for another; SQLite's wait cannot be seen, and is there at once."""
    deadline = time.monotonic() + 30
    while not database.is_sqlite and time.monotonic() < deadline:
        with database.reading() as session:
            if session.scalar(WAITS):
                return
        time.sleep(0.01)


def test_cancelling_a_job_that_is_given_back_meanwhile(database: Database) -> None:
    held = claimed(database, new_job(database))
    states: list[str] = []

    def cancel() -> None:
        with database.session() as session:
            states.append(cancel_job(session, DEFAULT_PROJECT, held.job_id).state)

    canceller = threading.Thread(target=cancel)
    with database.session() as session:
        release(session, held)
        canceller.start()
        until_somebody_waits(database)
    canceller.join(timeout=30)
    assert states == [JobState.CANCELLED]
    with database.reading() as session:
        assert find(session, held.job_id).state == JobState.CANCELLED
        assert [e.seq for e in list_events(session, held.job_id)] == [1, 2, 3, 4]


def test_two_jobs_that_name_the_same_new_alias(database: Database) -> None:
    first = a_checkpoint(database, claimed(database, new_job(database)))
    second = a_checkpoint(database, claimed(database, new_job(database)))
    done: list[str] = []

    def point_at_second() -> None:
        with database.session() as session:
            done.append(set_alias(session, DEFAULT_PROJECT, "production", second).checkpoint_id)

    other = threading.Thread(target=point_at_second)
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "production", first)
        other.start()
        until_somebody_waits(database)
    other.join(timeout=30)
    assert done == [second]
    with database.reading() as session:
        assert get_alias(session, DEFAULT_PROJECT, "production").checkpoint_id == second
        history = alias_history(session, DEFAULT_PROJECT, "production")
    assert {change.checkpoint_id for change in history} == {first, second}


def test_processes_that_write_at_once_all_get_their_turn(database: Database) -> None:
    command = [sys.executable, "-c", WRITER, database.url.render_as_string(hide_password=False)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors.decode()
    with database.reading() as session:
        counted = session.execute(
            select(func.count(), func.max(JobEvent.seq)).group_by(JobEvent.job_id)
        ).all()
    assert [tuple(row) for row in counted] == [(13, 13)] * 9
