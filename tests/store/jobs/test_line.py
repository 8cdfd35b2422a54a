"""Who is first in line."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import update

from store.database import Database, database_now
from store.jobs.claims import Claim, beat, claim_next, mark_not_responding, succeed
from store.jobs.events import list_events
from store.jobs.jobs import pause_job, set_priority
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.queues import QUEUES
from store.tables import DEFAULT_PROJECT, ApiKey, Job
from tests.store.conftest import HOUR, claimed, new_job


def next_of(database: Database, queues: tuple[str, ...] = QUEUES) -> Claim | None:
    with database.session() as session:
        return claim_next(session, "w1", HOUR, queues)


def next_id(database: Database, queues: tuple[str, ...] = QUEUES) -> str | None:
    held = next_of(database, queues)
    return None if held is None else held.job_id


def a_key(database: Database, limit: int | None) -> str:
    name = f"key_{limit}"
    with database.session() as session:
        row = ApiKey(
            id=name,
            project_id=DEFAULT_PROJECT,
            secret_sha256="",
            scopes=[],
            max_running_jobs=limit,
        )
        session.add(row)
    return name


def test_the_highest_priority_first_then_the_oldest(database: Database) -> None:
    low, first, second = (new_job(database, priority=p) for p in (-1, 0, 0))
    urgent = new_job(database, priority=5)
    assert [next_id(database) for _ in range(5)] == [urgent, first, second, low, None]


def test_a_changed_priority_counts_and_is_told(database: Database) -> None:
    first, second = new_job(database), new_job(database)
    with database.session() as session:
        set_priority(session, DEFAULT_PROJECT, second, 3)
        set_priority(session, DEFAULT_PROJECT, second, 3)
    assert [next_id(database) for _ in range(2)] == [second, first]
    with database.reading() as session:
        told = [e.data for e in list_events(session, second) if e.type == "priority"]
    assert told == [{"before": 0, "priority": 3}]


def test_a_worker_takes_only_from_its_queues(database: Database) -> None:
    on_gpu, on_cpu = new_job(database, queue="gpu"), new_job(database, queue="cpu")
    assert next_id(database, ("cpu",)) == on_cpu
    assert next_id(database, ("cpu",)) is None
    assert next_id(database, ("gpu", "cpu")) == on_gpu


def test_a_paused_job_is_not_in_line(database: Database) -> None:
    job_id = new_job(database)
    with database.session() as session:
        pause_job(session, DEFAULT_PROJECT, job_id)
    assert next_id(database) is None


def test_a_job_whose_worker_fell_silent_is_in_line_while_attempts_are_left(
    database: Database,
) -> None:
    silent, exhausted = new_job(database), new_job(database, max_attempts=1)
    claimed(database, silent)
    claimed(database, exhausted)
    assert next_id(database) is None
    with database.session() as session:
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
    held = next_of(database)
    assert held is not None
    assert (held.job_id, held.fence, held.attempt) == (silent, 2, 2)
    assert next_id(database) is None


def test_a_key_with_enough_running_waits_and_others_do_not(database: Database) -> None:
    one, free = a_key(database, 1), a_key(database, None)
    mine = [new_job(database, key_id=one) for _ in range(3)]
    others = [new_job(database, key_id=free), new_job(database, key_id=free), new_job(database)]
    first = next_of(database)
    assert first is not None
    assert first.job_id == mine[0]
    assert [next_id(database) for _ in range(4)] == [*others, None]
    with database.session() as session:
        succeed(session, first)
    assert [next_id(database) for _ in range(2)] == [mine[1], None]


def test_workers_that_come_at_once_do_not_overdraw_a_key(database: Database) -> None:
    key_id = a_key(database, 2)
    jobs = [new_job(database, key_id=key_id) for _ in range(6)]
    barrier = threading.Barrier(4)
    taken: list[str | None] = []

    def take() -> None:
        barrier.wait()
        taken.extend([next_id(database) for _ in range(3)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = [job_id for job_id in taken if job_id is not None]
    assert len(got) == len(set(got)) == 2
    assert set(got) <= set(jobs)


@pytest.mark.parametrize("workers", [4])
def test_workers_that_come_at_once_take_different_jobs(database: Database, workers: int) -> None:
    jobs = [new_job(database) for _ in range(8)]
    barrier = threading.Barrier(workers)
    taken: list[str | None] = []

    def take() -> None:
        barrier.wait()
        while (job_id := next_id(database)) is not None:
            taken.append(job_id)

    threads = [threading.Thread(target=take) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One that is being looked at is passed over, and its looker takes it: none is left.
    assert sorted(filter(None, taken)) == sorted(jobs)


def test_a_late_worker_is_named_once_and_its_beat_takes_that_back(database: Database) -> None:
    job_id = new_job(database)
    held = claimed(database, job_id, lease=10)
    with database.session() as session:
        assert not mark_not_responding(session, job_id, 5)
        assert mark_not_responding(session, job_id, 20)
        assert not mark_not_responding(session, job_id, 20), "told once"
    with database.reading() as session:
        assert find(session, job_id).not_responding_since is not None
        assert find(session, job_id).state == JobState.RUNNING
    with database.session() as session:
        beat(session, held, 10)
        beat(session, held, 10)
    with database.reading() as session:
        assert find(session, job_id).not_responding_since is None
        types = [event.type for event in list_events(session, job_id)]
    assert types == ["state", "state", "not_responding", "responding"]


def test_seconds_of_attempts_add_up(database: Database) -> None:
    job_id = new_job(database, max_seconds=60)
    held = claimed(database, job_id)
    with database.session() as session:
        beat(session, held, HOUR, seconds=10.0)
        beat(session, held, HOUR, seconds=20.0)
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
    again = next_of(database)
    assert again is not None
    assert (again.seconds_spent, again.max_seconds) == (20.0, 60.0)
    with database.session() as session:
        beat(session, again, HOUR, seconds=5.0)
        assert find(session, job_id).seconds_spent == 25.0
