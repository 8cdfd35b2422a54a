"""The full product of states and transitions: what is allowed happens, all else is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from store.database import Database, database_now
from store.errors import Conflict
from store.jobs.claims import (
    Claim,
    claim,
    claim_next,
    expire,
    fail,
    lose_attempt,
    mark_cancelled,
    mark_paused,
    release,
    succeed,
)
from store.jobs.events import list_events
from store.jobs.jobs import cancel_job, pause_job, resume_job, retry_job
from store.jobs.states import TERMINAL, JobState, Transition
from store.jobs.transitions import find
from store.tables import DEFAULT_PROJECT, Job
from tests.store.conftest import KILLED, claimed, new_job

NONE_WHEN_REFUSED = ("claim", "claim_next", "expire")
ERROR = {"code": "data_error", "message": "no images"}

ACTIONS: dict[str, Callable[[Session, Claim], object]] = {
    "claim": lambda s, c: claim(s, c.job_id, "w2", 60),
    "claim_next": lambda s, c: claim_next(s, "w2", 60),
    "release": release,
    "lose": lambda s, c: lose_attempt(s, c, KILLED),
    "succeed": succeed,
    "fail": lambda s, c: fail(s, c, ERROR),
    "cancel": lambda s, c: cancel_job(s, DEFAULT_PROJECT, c.job_id),
    "mark_cancelled": mark_cancelled,
    "pause": lambda s, c: pause_job(s, DEFAULT_PROJECT, c.job_id),
    "mark_paused": mark_paused,
    "resume": lambda s, c: resume_job(s, DEFAULT_PROJECT, c.job_id),
    "retry": lambda s, c: retry_job(s, DEFAULT_PROJECT, c.job_id),
    "expire": lambda s, c: expire(s, c.job_id),
}

ALLOWED = {
    (JobState.QUEUED, "claim"): JobState.RUNNING,
    (JobState.QUEUED, "claim_next"): JobState.RUNNING,
    (JobState.QUEUED, "cancel"): JobState.CANCELLED,
    (JobState.QUEUED, "pause"): JobState.PAUSED,
    (JobState.RUNNING, "release"): JobState.QUEUED,
    (JobState.RUNNING, "lose"): JobState.QUEUED,
    (JobState.RUNNING, "succeed"): JobState.SUCCEEDED,
    (JobState.RUNNING, "fail"): JobState.FAILED,
    (JobState.RUNNING, "cancel"): JobState.CANCELLING,
    (JobState.RUNNING, "pause"): JobState.PAUSING,
    (JobState.PAUSING, "mark_paused"): JobState.PAUSED,
    (JobState.PAUSING, "succeed"): JobState.SUCCEEDED,
    (JobState.PAUSING, "fail"): JobState.FAILED,
    (JobState.PAUSING, "cancel"): JobState.CANCELLING,
    (JobState.PAUSED, "resume"): JobState.QUEUED,
    (JobState.PAUSED, "cancel"): JobState.CANCELLED,
    (JobState.CANCELLING, "mark_cancelled"): JobState.CANCELLED,
    (JobState.FAILED, "retry"): JobState.QUEUED,
    (JobState.CANCELLED, "retry"): JobState.QUEUED,
    # Asked again while it is stopping or has stopped: the same answer, and nothing changes.
    (JobState.PAUSING, "pause"): JobState.PAUSING,
    (JobState.PAUSED, "pause"): JobState.PAUSED,
    (JobState.CANCELLING, "cancel"): JobState.CANCELLING,
}


def brought_to(database: Database, state: JobState) -> Claim:
    """A job in `state`, with the claim of the worker that has or had it."""
    job_id = new_job(database)
    if state is JobState.QUEUED:
        return Claim(job_id, DEFAULT_PROJECT, 0, 0, "w1", "finetune", {})
    held = claimed(database, job_id)
    with database.session() as session:
        if state in (JobState.CANCELLING, JobState.CANCELLED):
            cancel_job(session, DEFAULT_PROJECT, job_id)
        if state in (JobState.PAUSING, JobState.PAUSED):
            pause_job(session, DEFAULT_PROJECT, job_id)
        match state:
            case JobState.SUCCEEDED:
                succeed(session, held)
            case JobState.FAILED:
                fail(session, held, ERROR)
            case JobState.CANCELLED:
                mark_cancelled(session, held)
            case JobState.PAUSED:
                mark_paused(session, held)
    return held


@pytest.mark.parametrize(("state", "action"), list(product(JobState, ACTIONS)))
def test_every_pair(database: Database, state: JobState, action: str) -> None:
    held = brought_to(database, state)
    with database.reading() as session:
        before = list_events(session, held.job_id)
    refused = False
    try:
        with database.session() as session:
            refused = ACTIONS[action](session, held) is None and action in NONE_WHEN_REFUSED
    except Conflict:
        refused = True
    with database.reading() as session:
        job = find(session, held.job_id)
        after = list_events(session, held.job_id)
    expected = ALLOWED.get((state, action))
    assert job.state == (expected or state)
    assert refused == (expected is None)
    moved = expected is not None and expected != state
    assert len(after) == len(before) + moved
    assert [e.seq for e in after] == list(range(1, len(after) + 1))
    if moved:
        assert after[-1].data["state"] == expected
    if job.state in TERMINAL:
        assert job.finished_at is not None
        assert job.lease_expires_at is None


@pytest.mark.parametrize(
    ("state", "attempts", "expected"),
    [
        (JobState.RUNNING, 1, JobState.QUEUED),
        (JobState.RUNNING, 2, JobState.FAILED),
        (JobState.CANCELLING, 1, JobState.CANCELLED),
        (JobState.PAUSING, 1, JobState.PAUSED),
        (JobState.PAUSING, 2, JobState.PAUSED),
        (JobState.PAUSED, 1, JobState.PAUSED),
        (JobState.QUEUED, 0, JobState.QUEUED),
        (JobState.SUCCEEDED, 1, JobState.SUCCEEDED),
    ],
)
def test_a_lease_that_ran_out(
    database: Database, state: JobState, attempts: int, expected: JobState
) -> None:
    held = brought_to(database, state)
    late = {"lease_expires_at": database_now(-1), "attempts": attempts}
    with database.session() as session:
        session.execute(update(Job).where(Job.id == held.job_id).values(**late))
    with database.session() as session:
        expire(session, held.job_id)
        assert find(session, held.job_id).state == expected


def test_the_table_covers_every_transition() -> None:
    for transition in Transition:
        assert transition.change.sources
        assert transition is Transition.RETRY or not transition.change.sources & TERMINAL
