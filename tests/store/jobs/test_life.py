"""Any life of a job: whatever happens in whatever order, the promises are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.artifacts.base import Blob
from store.artifacts.folder import FolderBlobs
from store.artifacts.rows import COMMITTED, Stored, begin, commit
from store.database import Database, database_now
from store.errors import Conflict
from store.jobs.claims import (
    Claim,
    beat,
    claim_next,
    expire,
    fail,
    lose_attempt,
    mark_cancelled,
    mark_not_responding,
    mark_paused,
    record_event,
    record_metrics,
    release,
    set_snapshot,
    succeed,
)
from store.jobs.events import list_events
from store.jobs.jobs import cancel_job, pause_job, resume_job, retry_job
from store.jobs.states import HELD, TERMINAL, JobState
from store.jobs.transitions import find
from store.tables import DEFAULT_PROJECT, Artifact, Job
from tests.store.conftest import HOUR, KILLED, new_job

CONTENT = b"snapshot"
WRITES: dict[str, Callable[[Session, Claim], object]] = {
    "beat": lambda s, held: beat(s, held, HOUR, {"step": 1}, 1.0),
    "event": lambda s, held: record_event(s, held, "warning", "w"),
    "metric": lambda s, held: record_metrics(s, held, [(1, "loss", 0.5)]),
    "succeed": succeed,
    "fail": lambda s, held: fail(s, held, {"code": "data_error", "message": "m"}),
    "release": release,
    "lose": lambda s, held: lose_attempt(s, held, KILLED),
    "cancelled": mark_cancelled,
    "paused": mark_paused,
}
FROM = {
    "succeed": {JobState.RUNNING, JobState.PAUSING},
    "fail": {JobState.RUNNING, JobState.PAUSING},
    "release": {JobState.RUNNING},
    "lose": {JobState.RUNNING},
    "cancelled": {JobState.CANCELLING},
    "paused": {JobState.PAUSING},
}
ASKS: dict[str, tuple[Callable[[Session, str, str], object], set[JobState]]] = {
    "cancel": (cancel_job, set(JobState) - TERMINAL),
    "pause": (pause_job, set(JobState) - TERMINAL - {JobState.CANCELLING}),
    "resume": (resume_job, {JobState.PAUSED}),
    "retry": (retry_job, {JobState.FAILED, JobState.CANCELLED}),
}


class Life(RuleBasedStateMachine):
    """One job, and every claim that anybody ever had on it."""

    database: Database
    blobs: FolderBlobs
    content: Blob

    @initialize(max_attempts=st.integers(1, 3))
    def submit(self, max_attempts: int) -> None:
        self.claims: list[Claim] = []
        self.committed: set[str] = set()
        with self.database.session() as session:
            session.execute(  # of earlier lives
                update(Job).values(state=JobState.CANCELLED, lease_expires_at=None)
            )
        self.job_id = new_job(self.database, max_attempts=max_attempts)
        self.before = self.look()

    def look(self) -> Job:
        with self.database.reading() as session:
            return find(session, self.job_id)

    def tried(self, act: Callable[[Session], object]) -> bool:
        """Whether it was let through."""
        try:
            with self.database.session() as session:
                act(session)
        except Conflict:
            return False
        return True

    @rule()
    def claim(self) -> None:
        before = self.look()
        with self.database.session() as session:
            held = claim_next(session, f"w{len(self.claims)}", HOUR)
        assert (held is not None) == (before.state == JobState.QUEUED)
        if held is not None:
            assert held.fence == before.fence + 1, "a fence grows with every claim"
            self.claims.append(held)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), what=st.sampled_from(sorted(WRITES)))
    def write(self, data: st.DataObject, what: str) -> None:
        """Some worker writes, be it the one that has the job or one that was replaced."""
        held = data.draw(st.sampled_from(self.claims[-3:]))
        before = self.look()
        live = held.fence == before.fence and before.state in HELD
        allowed = live and before.state in FROM.get(what, HELD)
        done = self.tried(lambda session: WRITES[what](session, held))
        assert done == allowed, f"{what} under fence {held.fence} of {before.fence}"

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def snapshot(self, data: st.DataObject) -> None:
        """Some worker commits an artifact."""
        held = data.draw(st.sampled_from(self.claims[-3:]))
        before = self.look()
        with self.database.session() as session:
            row = begin(session, "snapshot", held=held)
        stored = Stored(row.id, self.content)

        def act(session: Session) -> None:
            commit(session, self.blobs, stored, held)
            set_snapshot(session, held, stored.artifact_id, 1)

        done = self.tried(act)
        assert done == (held.fence == before.fence and before.state in HELD)
        if done:
            self.committed.add(stored.artifact_id)

    @rule(what=st.sampled_from(sorted(ASKS)))
    def ask(self, what: str) -> None:
        """Somebody wants something of the job."""
        act, allowed = ASKS[what]
        before = self.look()
        done = self.tried(lambda session: act(session, DEFAULT_PROJECT, self.job_id))
        assert done == (before.state in allowed), f"{what} of a job that is {before.state}"
        now = self.look()
        if done and what == "retry":
            assert (now.retries, now.attempts, now.error) == (before.retries + 1, 0, None)
        else:
            assert now.retries == before.retries

    @rule(lost=st.booleans())
    def fall_silent(self, lost: bool) -> None:
        """The worker is late, or so late that its lease ends."""
        before = self.look()
        late = {"lease_expires_at": database_now(-1 if lost else 10)}
        mine = update(Job).where(Job.id == self.job_id, Job.state.in_(HELD))
        with self.database.session() as session:
            session.execute(mine.values(**late))
            told = mark_not_responding(session, self.job_id, 20.0)
        assert told == (before.state in HELD and before.not_responding_since is None)
        with self.database.session() as session:
            state = expire(session, self.job_id)
        assert (state is not None) == (lost and before.state in HELD)

    @invariant()
    def guarantees(self) -> None:
        job = self.look()
        with self.database.reading() as session:
            events = list_events(session, self.job_id, limit=10_000)
            committed = select(Artifact.id).where(
                Artifact.job_id == self.job_id, Artifact.state == COMMITTED
            )
            assert set(session.scalars(committed)) == self.committed
        assert [event.seq for event in events] == list(range(1, job.event_seq + 1))
        states = [event.data["state"] for event in events if event.type == "state"]
        assert states[-1] == job.state
        assert 0 <= job.attempts <= job.max_attempts
        assert (job.lease_expires_at is not None) == (job.state in HELD)
        assert (job.worker is not None) == (job.state in HELD)
        assert (job.finished_at is not None) == (job.state in TERMINAL)
        assert (job.error is not None) == (job.state == JobState.FAILED)
        assert job.not_responding_since is None or job.state in HELD
        if self.before.state in TERMINAL and job.state != self.before.state:
            assert job.retries == self.before.retries + 1, "only people bring a job back"
        self.before = job


@pytest.mark.slow
def test_every_life_keeps_the_promises(database: Database, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path / "blobs")

    class Here(Life):
        pass

    Here.database, Here.blobs, Here.content = database, blobs, blobs.put([CONTENT])
    run_state_machine_as_test(
        Here,
        settings=settings(
            # The lives are the same; what differs is SQL, of which every life has most.
            max_examples=30 if database.is_sqlite else 10,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
