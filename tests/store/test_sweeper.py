"""The sweeper: what it finds, what it leaves alone, and that nothing ends it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from sqlalchemy import update

from store.database import Database, database_now
from store.jobs.jobs import cancel_job
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.settings import Settings
from store.sweeper import MOST_NOTIFIED, Sweeper, sweep_once
from store.tables import DEFAULT_PROJECT, Job
from tests.store.conftest import claimed, new_job


def nothing(job_id: str, _queue: str) -> None:
    """A doorbell that nobody hears."""


def forget_ringing(database: Database) -> None:
    with database.session() as session:
        session.execute(update(Job).values(notified_at=None))


def let_all_expire(database: Database) -> None:
    with database.session() as session:
        session.execute(
            update(Job)
            .where(Job.lease_expires_at.is_not(None))
            .values(lease_expires_at=database_now(-1))
        )


def test_silent_workers_lose_their_jobs_and_live_ones_do_not(
    database: Database, settings: Settings
) -> None:
    silent, stopping, live, queued = (new_job(database) for _ in range(4))
    claimed(database, silent)
    claimed(database, stopping)
    with database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, stopping)
    let_all_expire(database)
    claimed(database, live)
    assert sweep_once(database, settings, nothing) == [silent], "the others were rung for already"
    with database.reading() as session:
        states = [find(session, i).state for i in (silent, stopping, live, queued)]
    assert states == [
        JobState.QUEUED,
        JobState.CANCELLED,
        JobState.RUNNING,
        JobState.QUEUED,
    ]


def test_a_job_that_loses_every_worker_fails_with_the_reason(
    database: Database, settings: Settings
) -> None:
    job_id = new_job(database, max_attempts=2)
    for _ in range(2):
        claimed(database, job_id)
        let_all_expire(database)
        sweep_once(database, settings, nothing)
    with database.reading() as session:
        job = find(session, job_id)
    assert job.state == JobState.FAILED
    assert job.error is not None
    assert job.error["code"] == "worker_lost"


def test_messages_do_not_pile_up_while_every_worker_is_busy(
    database: Database, settings: Settings
) -> None:
    ids = [new_job(database) for _ in range(MOST_NOTIFIED + 5)]
    forget_ringing(database)
    assert sweep_once(database, settings, nothing) == ids[:MOST_NOTIFIED]
    assert sweep_once(database, settings, nothing) == []
    for job_id in ids[:3]:  # whoever moves up is rung for at once
        claimed(database, job_id)
    assert sweep_once(database, settings, nothing) == ids[MOST_NOTIFIED : MOST_NOTIFIED + 3]


def test_two_sweepers_ring_once_for_each_job(database: Database, settings: Settings) -> None:
    ids = [new_job(database) for _ in range(MOST_NOTIFIED)]
    forget_ringing(database)
    heard: list[str] = []
    barrier = threading.Barrier(3)

    def sweep() -> None:
        barrier.wait()
        sweep_once(database, settings, lambda job_id, _: heard.append(job_id))

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == ids


def test_no_error_ends_the_thread(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'carot.db'}"
    settings = Settings(data_dir=tmp_path, database_url=url, sweep_seconds=0.01, ring_seconds=0.001)
    database = Database(url)
    heard = threading.Event()
    calls: list[str] = []

    def broken_at_first(job_id: str, _queue: str) -> None:
        calls.append(job_id)
        if len(calls) < 3:
            raise ConnectionError("the broker is away")
        heard.set()

    sweeper = Sweeper(database, settings, broken_at_first)
    sweeper.start()
    try:
        time.sleep(0.1)  # sweeps of a database that has no tables yet
        database.upgrade()
        new_job(database)
        assert heard.wait(30)
    finally:
        sweeper.stop()
        database.close()
    assert not sweeper.is_alive
