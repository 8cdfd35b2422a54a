"""Workers say that they are there; what others see of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from store.access.projects import ensure_project
from store.artifacts.folder import FolderBlobs
from store.database import Database, database_now
from store.jobs.claims import release
from store.jobs.jobs import cancel_job
from store.jobs.workers import Holder, Presence, list_workers
from store.retention.retention import tidy
from store.settings import Settings
from store.tables import DEFAULT_PROJECT, Worker
from tests.store.conftest import claimed, new_job

GPU = {"name": "Test GPU", "memory_bytes": 80 << 30}


def presence(name: str = "w1", **changes: Any) -> Presence:
    known: dict[str, Any] = {
        "host": "here",
        "pid": 7,
        "queues": ("gpu", "cpu"),
        "devices": [GPU],
        "version": "1.2",
        "silent_after_seconds": 60.0,
    }
    return Presence(name, **(known | changes))


def seen(database: Database, project: str = DEFAULT_PROJECT) -> list[Holder]:
    with database.reading() as session:
        return list(list_workers(session, project).data)


def age(database: Database, worker: Presence, seconds: float) -> None:
    with database.session() as session:
        change = update(Worker).where(Worker.id == worker.id)
        session.execute(change.values(heartbeat_at=database_now(-seconds)))


def test_a_beat_makes_the_row_and_moves_it(database: Database) -> None:
    worker = presence()
    worker.beat(database)
    [first] = seen(database)
    assert (first.state, first.job_id) == ("idle", None)
    assert first.row.devices == [GPU]
    assert (first.row.queues, first.row.host, first.row.pid) == (["gpu", "cpu"], "here", 7)
    age(database, worker, 30)
    [before] = seen(database)
    worker.beat(database)
    [after] = seen(database)
    assert before.row.heartbeat_at < after.row.heartbeat_at
    assert after.row.started_at == first.row.started_at


def test_silent_only_after_its_own_time(database: Database) -> None:
    patient, other = presence("a", silent_after_seconds=600.0), presence("b")
    for worker in (patient, other):
        worker.beat(database)
        age(database, worker, 90)
    assert [(each.row.name, each.state) for each in seen(database)] == [
        ("b", "silent"),
        ("a", "idle"),
    ]


@pytest.mark.parametrize("asked", [False, True])
def test_busy_while_it_holds_a_job(database: Database, asked: bool) -> None:
    presence("w1").beat(database)
    presence("w2").beat(database)
    held = claimed(database, new_job(database), "w1")
    if asked:  # to stop: it is busy until it has
        with database.session() as session:
            cancel_job(session, DEFAULT_PROJECT, held.job_id)
    states = {each.row.name: (each.state, each.job_id) for each in seen(database)}
    assert states == {"w1": ("busy", held.job_id), "w2": ("idle", None)}
    with database.session() as session:
        other = ensure_project(session, "other").id
    states = {each.row.name: (each.state, each.job_id) for each in seen(database, other)}
    assert states == {"w1": ("busy", None), "w2": ("idle", None)}
    if not asked:
        with database.session() as session:
            release(session, held)
        assert {each.state for each in seen(database)} == {"idle"}


def test_a_silent_worker_still_has_its_job(database: Database) -> None:
    worker = presence()
    worker.beat(database)
    held = claimed(database, new_job(database))
    age(database, worker, 90)
    [found] = seen(database)
    assert (found.state, found.job_id) == ("silent", held.job_id)


def test_a_late_beat_does_not_undo_the_farewell(database: Database) -> None:
    worker = presence()
    worker.beat(database)
    worker.leave(database)
    worker.beat(database)
    [found] = seen(database)
    assert found.state == "stopped"
    assert found.row.stopped_at is not None


def test_a_successor_of_the_same_name_takes_its_place(database: Database) -> None:
    """In containers, every worker may be process 1 of the same host."""
    presence().beat(database)
    successor = presence(pid=9)
    successor.beat(database)
    [found] = seen(database)
    assert (found.row.id, found.row.pid) == (successor.id, 9)


def test_who_was_forgotten_comes_back_with_the_next_beat(
    database: Database, settings: Settings
) -> None:
    gone, live = presence("gone"), presence("live")
    for worker in (gone, live):
        worker.beat(database)
    age(database, gone, 90_000)
    tidy(database, FolderBlobs(settings.data_dir / "blobs"), settings)
    assert [each.row.name for each in seen(database)] == ["live"]
    gone.beat(database)
    assert {each.row.name for each in seen(database)} == {"gone", "live"}


def test_pages(database: Database) -> None:
    for name in "abc":
        presence(name).beat(database)
    with database.reading() as session:
        first = list_workers(session, DEFAULT_PROJECT, limit=2)
        rest = list_workers(session, DEFAULT_PROJECT, limit=2, cursor=first.next_cursor)
    assert [each.row.name for each in (*first.data, *rest.data)] == ["c", "b", "a"]
    assert rest.next_cursor is None
