"""Long random lives of jobs: whatever happens in whatever order, the promises are kept."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from store.database import Database, database_now
from store.errors import Conflict
from store.events import list_events
from store.jobs import (
    Claim,
    beat,
    cancel_job,
    claim,
    expire,
    fail,
    get_job,
    lose_attempt,
    mark_cancelled,
    record_event,
    release,
    succeed,
)
from store.states import HELD, TERMINAL, JobState
from store.tables import Job
from tests.store.conftest import HOUR, new_job

STEPS = 150
WRITES: dict[str, Callable[[Session, Claim], object]] = {
    "beat": lambda s, held: beat(s, held, HOUR, {"step": 1}),
    "event": lambda s, held: record_event(s, held, "warning", "w"),
    "succeed": succeed,
    "fail": lambda s, held: fail(s, held, {"code": "data_error", "message": "m"}),
    "release": lambda s, held: release(s, held, "bye"),
    "lose": lambda s, held: lose_attempt(s, held, "trainer_crashed", "killed"),
    "cancelled": mark_cancelled,
}
RUNNING_ONLY = {"succeed", "fail", "release", "lose"}


class Life:
    """One job, and every claim that anybody ever had on it."""

    def __init__(self, database: Database, random: Random) -> None:
        self.database = database
        self.random = random
        self.job_id = new_job(database, max_attempts=random.randint(1, 3))
        self.claims: list[Claim] = []

    def look(self) -> Job:
        with self.database.reading() as session:
            return get_job(session, self.job_id)

    def claim(self, before: Job) -> None:
        with self.database.session() as session:
            held = claim(session, self.job_id, f"w{len(self.claims)}", HOUR)
        assert (held is not None) == (before.state == JobState.QUEUED)
        if held is not None:
            assert held.fence == before.fence + 1
            self.claims.append(held)

    def write(self, before: Job) -> None:
        """Some worker, be it the one that has the job or one that was replaced, writes."""
        if not self.claims:
            return
        held, what = self.random.choice(self.claims[-3:]), self.random.choice(list(WRITES))
        allowed = held.fence == before.fence and before.state in HELD
        if what in RUNNING_ONLY:
            allowed = allowed and before.state == JobState.RUNNING
        if what == "cancelled":
            allowed = allowed and before.state == JobState.CANCELLING
        done = True
        try:
            with self.database.session() as session:
                WRITES[what](session, held)
        except Conflict:
            done = False
        assert done == allowed, f"{what} under fence {held.fence} of {before.fence}"

    def cancel(self, before: Job) -> None:
        done = True
        try:
            with self.database.session() as session:
                cancel_job(session, self.job_id)
        except Conflict:
            done = False
        assert done == (before.state not in TERMINAL)

    def fall_silent(self, before: Job) -> None:
        late = {"lease_expires_at": database_now(-1)}
        held = Job.state.in_(HELD)
        with self.database.session() as session:
            session.execute(update(Job).where(Job.id == self.job_id, held).values(**late))
        with self.database.session() as session:
            state = expire(session, self.job_id)
        assert (state is not None) == (before.state in HELD)

    def check(self, before: Job) -> None:
        job = self.look()
        with self.database.reading() as session:
            events = list_events(session, self.job_id, limit=10 * STEPS)
        assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
        assert [e.data["state"] for e in events if e.type == "state"][-1] == job.state
        assert 0 <= job.attempts <= job.max_attempts
        assert (job.lease_expires_at is not None) == (job.state in HELD)
        assert (job.finished_at is not None) == (job.state in TERMINAL)
        assert (job.error is not None) == (job.state == JobState.FAILED)
        if before.state in TERMINAL:
            assert (job.state, job.event_seq) == (before.state, before.event_seq)


@pytest.mark.parametrize("seed", range(2))
def test_a_random_life(database: Database, seed: int) -> None:
    random = Random(seed)
    life = Life(database, random)
    ended = 0
    for _ in range(STEPS):
        before = life.look()
        ended = ended + 1 if before.state in TERMINAL else 0
        if ended > 3:
            life, ended = Life(database, random), 0
            before = life.look()
        [act] = random.choices(
            [life.claim, life.write, life.fall_silent, life.cancel], weights=[4, 8, 1, 1]
        )
        act(before)
        life.check(before)
