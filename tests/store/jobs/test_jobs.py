from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from carot.specs import AnySpec, EvaluateSpec, ModelSpec, RunSpec
from store.database import Database, database_now
from store.errors import BadCursor, IllegalTransition, NotFound, StaleFence
from store.jobs.claims import (
    beat,
    check_fence,
    claim,
    claim_next,
    expire,
    fail,
    lose_attempt,
    record_event,
    record_metrics,
    release,
    set_snapshot,
    succeed,
)
from store.jobs.events import list_events, list_metrics
from store.jobs.jobs import JobFilter, cancel_job, create_job, list_jobs, queue_positions
from store.jobs.states import JobState
from store.jobs.transitions import find
from store.tables import DEFAULT_PROJECT, Artifact, Job
from tests.store.conftest import KILLED, SPEC, claimed, new_job

MINI = {"architecture": "carot-mini"}
OTHER = EvaluateSpec(model=ModelSpec(**MINI), dataset="builtin:digits")


def let_expire(database: Database, job_id: str) -> None:
    with database.session() as session:
        late = {"lease_expires_at": database_now(-1)}
        session.execute(update(Job).where(Job.id == job_id).values(**late))


def test_a_new_job_is_queued_with_its_first_event(database: Database) -> None:
    job_id = new_job(database, name="mine", alias="production")
    with database.reading() as session:
        job = find(session, job_id)
        [event] = list_events(session, job_id)
    assert (job.state, job.attempts, job.fence) == (JobState.QUEUED, 0, 0)
    assert job.method == "carot"
    assert job.created_at.tzinfo is not None
    assert abs(job.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert (event.seq, event.type) == (1, "state")


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ({"kind": "finetune", "model": MINI, "method": {"name": "tracer"}}, "tracer"),
        ({"kind": "evaluate", "model": MINI}, None),
        ({"kind": "interpolate", "model": MINI}, "wise_ft"),
        ({"kind": "merge", "models": [MINI] * 2, "method": {"name": "model_stock"}}, "model_stock"),
        ({"kind": "select", "models": [MINI] * 2}, None),
    ],
)
def test_jobs_of_every_kind_are_kept_as_they_were_asked_for(
    database: Database, fields: dict[str, Any], method: str | None
) -> None:
    adapter: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
    spec = adapter.validate_python(fields | {"dataset": "builtin:digits"})
    other = SPEC if spec.kind == "evaluate" else OTHER
    with database.session() as session:
        job_id = create_job(session, spec, project=DEFAULT_PROJECT).id
        create_job(session, other, project=DEFAULT_PROJECT)
    held = claimed(database, job_id)
    assert (held.kind, adapter.validate_python(held.spec)) == (spec.kind, spec)
    with database.reading() as session:
        assert find(session, job_id).method == method
        assert [
            job.id for job in list_jobs(session, DEFAULT_PROJECT, JobFilter(kind=spec.kind)).data
        ] == [job_id]


def test_of_many_claims_one_wins(database: Database) -> None:
    job_id = new_job(database)
    winners = []
    barrier = threading.Barrier(6)

    def try_to_claim(name: str) -> None:
        barrier.wait()
        with database.session() as session:
            held = claim(session, job_id, name, 60)
        if held is not None:
            winners.append(held)

    threads = [threading.Thread(target=try_to_claim, args=(f"w{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [held.fence for held in winners] == [1]


def test_a_job_whose_lease_ran_out_can_be_taken_over(database: Database) -> None:
    job_id = new_job(database)
    first = claimed(database, job_id, "w1")
    with database.session() as session:
        assert claim(session, job_id, "w2", 60) is None
    let_expire(database, job_id)
    second = claimed(database, job_id, "w2")
    assert (second.fence, second.attempt) == (first.fence + 1, 2)
    let_expire(database, job_id)
    with database.session() as session:
        assert claim(session, job_id, "w3", 60) is None, "no attempt is left"


def test_a_zombie_writes_nothing(database: Database) -> None:
    job_id = new_job(database)
    zombie = claimed(database, job_id, "w1")
    let_expire(database, job_id)
    claimed(database, job_id, "w2")
    with database.session() as session:
        session.add(Artifact(id="art_1", kind="snapshot", state="committed", media_type="x/y"))
    writes: list[Callable[[Session], object]] = [
        lambda s: beat(s, zombie, 60),
        lambda s: beat(s, zombie, 60, {"step": 7}),
        lambda s: record_event(s, zombie, "warning", "late"),
        lambda s: record_metrics(s, zombie, [(1, "loss", 0.5)]),
        lambda s: set_snapshot(s, zombie, "art_1", 3),
        lambda s: check_fence(s, zombie),
        lambda s: succeed(s, zombie),
        lambda s: fail(s, zombie, {"code": "x", "message": "y"}),
        lambda s: release(s, zombie),
        lambda s: lose_attempt(s, zombie, KILLED),
    ]
    for write in writes:
        with pytest.raises(StaleFence), database.session() as session:
            write(session)
    with database.reading() as session:
        job = find(session, job_id)
        assert job.state == JobState.RUNNING
        assert (job.worker, job.progress, job.snapshot_artifact_id) == ("w2", None, None)
        assert list_metrics(session, job_id) == {}
        assert len(list_events(session, job_id)) == 3


def test_a_zombie_of_a_requeued_job_writes_nothing(database: Database) -> None:
    job_id = new_job(database)
    zombie = claimed(database, job_id)
    let_expire(database, job_id)
    with database.session() as session:
        assert expire(session, job_id) == JobState.QUEUED
    with pytest.raises(StaleFence), database.session() as session:
        beat(session, zombie, 60)
    with pytest.raises(StaleFence), database.session() as session:
        succeed(session, zombie)


def test_a_crash_costs_an_attempt_and_a_release_does_not(database: Database) -> None:
    job_id = new_job(database)
    for _ in range(3):
        held = claimed(database, job_id)
        with database.session() as session:
            release(session, held)
    held = claimed(database, job_id)
    assert held.attempt == 1
    with database.session() as session:
        assert lose_attempt(session, held, KILLED) == JobState.QUEUED
    held = claimed(database, job_id)
    assert held.attempt == 2
    with database.session() as session:
        assert lose_attempt(session, held, KILLED) == JobState.FAILED
        job = find(session, job_id)
    assert job.error == {"code": "signal", "message": "signal 9"}
    assert job.last_exit == KILLED.document()


def test_a_beat_learns_of_the_cancel(database: Database) -> None:
    job_id = new_job(database)
    held = claimed(database, job_id)
    with database.session() as session:
        assert beat(session, held, 60, {"step": 3}) == JobState.RUNNING
        before = find(session, job_id).lease_expires_at
        cancel_job(session, DEFAULT_PROJECT, job_id)
    with database.session() as session:
        assert beat(session, held, 600) == JobState.CANCELLING
        job = find(session, job_id)
        assert job.progress == {"step": 3}
        assert before is not None
        assert job.lease_expires_at is not None
        assert job.lease_expires_at > before
    with pytest.raises(IllegalTransition), database.session() as session:
        succeed(session, held)


def test_cancelling_what_has_ended(database: Database) -> None:
    job_id = new_job(database)
    held = claimed(database, job_id)
    with database.session() as session:
        succeed(session, held)
    with (
        pytest.raises(IllegalTransition, match="already succeeded"),
        database.session() as session,
    ):
        cancel_job(session, DEFAULT_PROJECT, job_id)
    with pytest.raises(NotFound), database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, "job_none")


def test_a_failed_transaction_leaves_neither_state_nor_event(database: Database) -> None:
    job_id = new_job(database)
    held = claimed(database, job_id)
    with contextlib.suppress(RuntimeError), database.session() as session:
        succeed(session, held)
        raise RuntimeError
    with database.reading() as session:
        assert find(session, job_id).state == JobState.RUNNING
        assert len(list_events(session, job_id)) == 2


def test_metrics_of_a_step_done_again_replace_the_old(database: Database) -> None:
    held = claimed(database, new_job(database))
    with database.session() as session:
        record_metrics(session, held, [(s, "loss", float(s)) for s in range(1, 101)])
        record_metrics(session, held, [(100, "loss", -1.0), (1, "ece", None)])
        curves = list_metrics(session, held.job_id)
        thin = list_metrics(session, held.job_id, names=["loss"], resolution=5)
    assert curves["loss"][-1] == (100, -1.0)
    assert curves["ece"] == [(1, None)]
    assert [step for step, _ in thin["loss"]] == [1, 26, 51, 75, 100]


def test_jobs_are_listed_newest_first_in_pages(database: Database) -> None:
    ids = [new_job(database) for _ in range(7)]
    seen: list[str] = []
    cursor = None
    with database.session() as session:
        while True:
            page = list_jobs(session, DEFAULT_PROJECT, cursor=cursor, limit=3)
            seen += [job.id for job in page.data]
            cursor = page.next_cursor
            if cursor is None:
                break
            # What comes meanwhile does not move the pages that follow.
            create_job(session, SPEC, project=DEFAULT_PROJECT)
    assert [i for i in seen if i in ids] == ids[::-1]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("cursor", ["", "!", "é", "AAAA", "Jzsg"])
def test_a_cursor_of_somebody_else(database: Database, cursor: str) -> None:
    with pytest.raises(BadCursor), database.session() as session:
        list_jobs(session, DEFAULT_PROJECT, cursor=cursor)


def test_lists_are_filtered(database: Database) -> None:
    first, second = new_job(database), new_job(database)
    held = claimed(database, first)
    with database.session() as session:
        assert [
            j.id
            for j in list_jobs(session, DEFAULT_PROJECT, JobFilter(states=(JobState.RUNNING,))).data
        ] == [first]
        assert list_jobs(session, DEFAULT_PROJECT, JobFilter(kind="evaluate")).data == []
        now = session.scalar(select(database_now()))
        assert now is not None
        assert list_jobs(session, DEFAULT_PROJECT, JobFilter(updated_after=now)).data == []
        while session.scalar(select(database_now())) == now:
            time.sleep(0.001)  # SQLite's clock has milliseconds
        record_event(session, held, "warning", "something")
        assert [
            j.id for j in list_jobs(session, DEFAULT_PROJECT, JobFilter(updated_after=now)).data
        ] == [first]
        everything = list_jobs(
            session, DEFAULT_PROJECT, JobFilter(updated_after=now - timedelta(hours=1))
        ).data
    assert {j.id for j in everything} == {first, second}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("PETS", {"Pets, 100 % of them", "a_pet"}),
        ("100 %", {"Pets, 100 % of them"}),
        ("%", {"Pets, 100 % of them"}),
        ("a_p", {"a_pet"}),
        ("a%p", set()),
        ("\\", set()),
        ("prod", {"a_pet"}),
        ("digits", {"Pets, 100 % of them", "a_pet"}),
    ],
)
def test_what_is_searched_for_is_text_and_no_pattern(
    database: Database, search: str, found: set[str]
) -> None:
    new_job(database, name="Pets, 100 % of them")
    new_job(database, name="a_pet", alias="pets-in-production")
    with database.reading() as session:
        page = list_jobs(session, DEFAULT_PROJECT, JobFilter(search=search))
    assert {job.name for job in page.data} == found


def test_places_in_line_are_the_order_in_which_jobs_are_claimed(database: Database) -> None:
    ids = [new_job(database, priority=p) for p in (0, 5, -1, 5)]
    apart = new_job(database, queue="gpu", priority=100)
    with database.reading() as session:
        jobs = [find(session, each) for each in (*ids, apart)]
        places = queue_positions(session, jobs)
        assert queue_positions(session, jobs[:1]) == {ids[0]: 3}, "the others count all the same"
    assert places.pop(apart) == 1
    order = []
    for _ in ids:
        with database.session() as session:
            taken = claim_next(session, "worker", 60, ("cpu",))
            assert taken is not None
            order.append(taken.job_id)
    assert sorted(places, key=lambda each: places[each]) == order
    with database.reading() as session:
        assert queue_positions(session, [find(session, each) for each in ids]) == {}
