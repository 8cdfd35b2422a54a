"""Webhooks that change in the moment in which a job does, and senders that want the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.database import Database
from store.jobs.jobs import cancel_job, get_job
from store.jobs.states import JobState
from store.tables import DEFAULT_PROJECT
from store.webhooks.deliveries import find_due, take
from store.webhooks.webhooks import create_webhook, delete_webhook
from tests.store.conftest import HOUR, new_job
from tests.store.jobs.test_races import until_somebody_waits
from tests.store.webhooks.test_webhooks import URL, deliveries_of, new_hook

pytestmark = pytest.mark.slow


def test_a_job_changes_its_state_while_a_webhook_is_deleted(database: Database) -> None:
    job_id = new_job(database)
    hook, kept = new_hook(database), new_hook(database)

    def cancel() -> None:
        with database.session() as session:
            cancel_job(session, DEFAULT_PROJECT, job_id)

    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            delete_webhook(session, DEFAULT_PROJECT, hook)
            cancelling = pool.submit(cancel)
            until_somebody_waits(database)
        cancelling.result(timeout=30)
    with database.reading() as session:
        assert get_job(session, DEFAULT_PROJECT, job_id).state == JobState.CANCELLED
    assert deliveries_of(database, hook) == []
    assert len(deliveries_of(database, kept)) == 1


def test_a_webhook_is_deleted_while_a_job_changes_its_state(database: Database) -> None:
    job_id = new_job(database)
    hook = new_hook(database)

    def remove() -> None:
        with database.session() as session:
            delete_webhook(session, DEFAULT_PROJECT, hook)

    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            cancel_job(session, DEFAULT_PROJECT, job_id)
            removing = pool.submit(remove)
            until_somebody_waits(database)
        removing.result(timeout=30)
    assert deliveries_of(database, hook) == []
    with database.reading() as session:
        assert get_job(session, DEFAULT_PROJECT, job_id).state == JobState.CANCELLED


def test_jobs_of_a_project_do_not_wait_for_its_webhooks_being_made(database: Database) -> None:
    if database.is_sqlite:
        return  # one writer at a time, whatever they write
    with ThreadPoolExecutor(1) as pool, database.session() as session:
        create_webhook(session, DEFAULT_PROJECT, URL, [])
        pool.submit(new_job, database).result(timeout=30)


def test_each_delivery_is_taken_by_one_of_many(database: Database) -> None:
    for _ in range(4):
        new_hook(database)
    for _ in range(5):
        new_job(database)
    barrier = threading.Barrier(4)
    taken: list[str] = []

    def take_all() -> None:
        barrier.wait(timeout=30)
        while True:
            with database.reading() as session:
                due = find_due(session, 10)
            if not due:
                return
            for delivery in due:
                with database.session() as session:
                    mine = take(session, delivery.id, HOUR)
                if mine is not None:
                    taken.append(mine.id)

    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(take_all) for _ in range(4)]:
            each.result(timeout=60)
    assert len(taken) == 20
    assert len(set(taken)) == 20
