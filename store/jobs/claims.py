"""Claims: a worker takes a job, extends its lease, writes under its fence, gives it up.

Every write of a worker carries its fence: when another worker has claimed the job since, or the
lease was taken away, it matches no row and raises `StaleFence`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.column_types import clean
from store.database import database_now
from store.errors import IllegalTransition, StaleFence
from store.jobs.exits import LOST, STOPPED, Exit
from store.jobs.states import HELD, JobState, Transition
from store.jobs.transitions import NO_LEASE, add_event, find, move
from store.queues import QUEUES
from store.tables import ApiKey, Job, JobMetric


@dataclass(frozen=True)
class Claim:
    """A worker's right to a job, until its lease ends. `fence` grows with every claim.

    Attributes:
        seconds_spent: in attempts before this one.
        max_seconds: for all attempts together.
    """

    job_id: str
    project_id: str
    fence: int
    attempt: int
    worker: str
    kind: str
    spec: dict[str, Any]
    name: str | None = None
    alias: str | None = None
    alias_when: str = "better"
    snapshot_artifact_id: str | None = None
    processes: int = 1
    seconds_spent: float = 0.0
    max_seconds: float | None = None


def claim_next(
    session: Session, worker: str, lease_seconds: float, queues: Sequence[str] = QUEUES
) -> Claim | None:
    """Take the job that is first in line; None when none may be taken.

    The highest priority goes first, then the oldest. Jobs of a key that has as many running as it
    may have are passed over.
    """
    expired = and_(
        Job.state == JobState.RUNNING,
        Job.lease_expires_at < database_now(),
        Job.attempts < Job.max_attempts,
    )
    in_line = (
        select(Job.id, Job.key_id)
        .where(Job.queue.in_(queues), or_(Job.state == JobState.QUEUED, expired))
        .order_by(Job.priority.desc(), Job.id)
        .limit(1)
        # Somebody else is about to take it, or people are changing it: look further.
        .with_for_update(skip_locked=True)
    )
    full: list[str] = []
    while True:
        others = or_(Job.key_id.is_(None), Job.key_id.not_in(full))
        first = session.execute(in_line.where(others)).one_or_none()
        if first is None:
            return None
        if first.key_id is not None and not _has_room(session, first.key_id):
            full.append(first.key_id)
            continue
        return claim(session, first.id, worker, lease_seconds)


def _has_room(session: Session, key_id: str) -> bool:
    # The lock makes two workers count one after the other.
    limit = session.scalar(
        select(ApiKey.max_running_jobs).where(ApiKey.id == key_id).with_for_update()
    )
    if limit is None:
        return True
    running = select(func.count()).where(Job.key_id == key_id, Job.state.in_(HELD))
    return (session.scalar(running) or 0) < limit


def claim(session: Session, job_id: str, worker: str, lease_seconds: float) -> Claim | None:
    """Take a queued job, or one whose lease ran out; None when another worker has it.

    Taking it counts as an attempt.
    """
    values = {
        "worker": worker,
        "fence": Job.fence + 1,
        "attempts": Job.attempts + 1,
        "lease_expires_at": database_now(lease_seconds),
        "not_responding_since": None,
        "started_at": func.coalesce(Job.started_at, database_now()),
        "error": None,
    }
    told: dict[str, Any] = {
        "values": values,
        "message": f"taken by {worker}",
        "data": {"worker": worker},
    }
    expired = (Job.lease_expires_at < database_now(), Job.attempts < Job.max_attempts)
    if not move(session, job_id, Transition.CLAIM, **told) and not move(
        session, job_id, Transition.TAKE_OVER, *expired, **told
    ):
        return None
    job = find(session, job_id)
    return Claim(
        job_id=job.id,
        project_id=job.project_id,
        fence=job.fence,
        attempt=job.attempts,
        worker=worker,
        kind=job.kind,
        spec=job.spec,
        name=job.name,
        alias=job.alias,
        alias_when=job.alias_when,
        snapshot_artifact_id=job.snapshot_artifact_id,
        processes=job.processes,
        seconds_spent=job.seconds_spent,
        max_seconds=job.max_seconds,
    )


def beat(
    session: Session,
    held: Claim,
    lease_seconds: float,
    progress: dict[str, Any] | None = None,
    seconds: float | None = None,
) -> JobState:
    """Extend the lease, and learn whether the job is to be cancelled or paused.

    Args:
        seconds: since the claim, to be added to those of earlier attempts.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    values: dict[str, Any] = {"lease_expires_at": database_now(lease_seconds)}
    if progress is not None:
        values |= {"progress": progress, "updated_at": database_now()}
    if seconds is not None:
        values["seconds_spent"] = held.seconds_spent + seconds
    state = session.scalar(update(Job).where(*_held_by(held)).values(**values).returning(Job.state))
    if state is None:
        raise _stale(held)
    add_event(
        session,
        held.job_id,
        Job.not_responding_since.is_not(None),
        type="responding",
        message="its worker is heard again",
        values={"not_responding_since": None},
    )
    return JobState(state)


def mark_not_responding(session: Session, job_id: str, seconds_left: float) -> bool:
    """Say once that a lease has no more than `seconds_left` to go; False when it has, or was told.

    The lease holds until it ends; the next beat takes the word back.
    """
    return add_event(
        session,
        job_id,
        Job.state.in_(HELD),
        Job.not_responding_since.is_(None),
        Job.lease_expires_at < database_now(seconds_left),
        type="not_responding",
        level="warning",
        message="its worker has not been heard for a while",
        values={"not_responding_since": database_now()},
    )


def record_event(
    session: Session,
    held: Claim,
    type: str,
    message: str,
    *,
    level: str = "info",
    data: Mapping[str, Any] | None = None,
) -> None:
    """Note something that happened during the run.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    _, *guards = _held_by(held)
    if not add_event(
        session, held.job_id, *guards, type=type, message=message, level=level, data=data
    ):
        raise _stale(held)


def record_metrics(
    session: Session, held: Claim, points: list[tuple[int, str, float | None]]
) -> None:
    """Note values of curves, (step, name, value); a step done again after a resume replaces it.

    A value that is not finite is stored as None.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    check_fence(session, held)
    if not points:
        return
    rows = [
        {"job_id": held.job_id, "step": step, "name": name, "value": clean(value)}
        for step, name, value in points
    ]
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    insert = dialect.insert(JobMetric)
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["job_id", "name", "step"], set_={"value": insert.excluded.value}
        ),
        rows,
    )


def check_fence(session: Session, held: Claim) -> None:
    """Lock the job's row; no other worker can claim it before this transaction ends.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    taken = update(Job).where(*_held_by(held)).values(fence=Job.fence).returning(Job.id)
    if session.scalar(taken) is None:
        raise _stale(held)


def set_snapshot(session: Session, held: Claim, artifact_id: str, step: int) -> str | None:
    """Point the job at its newest snapshot; returns the artifact of the one before.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    check_fence(session, held)
    job = find(session, held.job_id)
    previous = job.snapshot_artifact_id
    job.snapshot_artifact_id, job.snapshot_step = artifact_id, step
    session.flush()
    return previous


def succeed(
    session: Session, held: Claim, *, checkpoint_id: str | None = None, report_id: str | None = None
) -> None:
    """The run is done and its results are in this transaction.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled.
    """
    values = {"checkpoint_id": checkpoint_id, "report_id": report_id, "last_exit": None, **_end()}
    _finish(session, held, Transition.SUCCEED, values, "")


def fail(session: Session, held: Claim, error: Mapping[str, Any], exit: Exit | None = None) -> None:
    """The run cannot succeed: `error` has code, message, and perhaps field and names.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled.
    """
    values = {"error": dict(error), **_exit(exit), **_end()}
    _finish(session, held, Transition.FAIL, values, str(error.get("message", "")), exit)


def release(session: Session, held: Claim) -> None:
    """Give the job back without losing an attempt: this worker shuts down.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled or paused.
    """
    values = {"attempts": Job.attempts - 1, "notified_at": None, **_exit(STOPPED), **NO_LEASE}
    _finish(session, held, Transition.RELEASE, values, STOPPED.message, STOPPED)


def lose_attempt(session: Session, held: Claim, exit: Exit) -> JobState:
    """The trainer died: back to the queue while attempts are left, else failed for that.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled or paused.
    """
    job = find(session, held.job_id)
    if job.state == JobState.RUNNING and job.attempts >= job.max_attempts:
        fail(session, held, {"code": exit.reason.value, "message": exit.message}, exit)
        return JobState.FAILED
    values = {"notified_at": None, **_exit(exit), **NO_LEASE}
    _finish(session, held, Transition.REQUEUE, values, exit.message, exit)
    return JobState.QUEUED


def mark_cancelled(session: Session, held: Claim) -> None:
    """The run has stopped as it was asked to.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: nobody asked for it.
    """
    _finish(session, held, Transition.CONFIRM_CANCEL, _end(), "")


def mark_paused(session: Session, held: Claim) -> None:
    """The run has stopped as it was asked to and can go on; no attempt is lost.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: nobody asked for it.
    """
    values = {"attempts": Job.attempts - 1, **NO_LEASE}
    _finish(session, held, Transition.CONFIRM_PAUSE, values, "")


def expire(session: Session, job_id: str) -> JobState | None:
    """Take a job from a worker whose lease ran out; None if it did not, or another was faster.

    Back to the queue while attempts are left, else failed; one that was being cancelled or paused
    is.
    """
    silent = (Job.lease_expires_at < database_now(),)
    told: dict[str, Any] = {"message": LOST.message, "data": {"exit": LOST.document()}}
    exited = _exit(LOST)
    failed = f"{LOST.message}, and no attempt is left"
    error = {"error": {"code": LOST.reason.value, "message": failed}}
    left = Job.attempts < Job.max_attempts
    ways: list[tuple[Transition, tuple[ColumnElement[bool], ...], dict[str, Any]]] = [
        (Transition.CONFIRM_CANCEL, (), _end()),
        (Transition.CONFIRM_PAUSE, (), {**exited, **NO_LEASE}),
        (Transition.REQUEUE, (left,), {"notified_at": None, **exited, **NO_LEASE}),
        (Transition.FAIL, (Job.state == JobState.RUNNING,), {**error, **exited, **_end()}),
    ]
    for transition, guards, values in ways:
        if transition is Transition.FAIL:
            told["message"] = failed
        if move(session, job_id, transition, *silent, *guards, values=values, **told):
            return transition.change.target
    return None


def _finish(
    session: Session,
    held: Claim,
    transition: Transition,
    values: dict[str, Any],
    message: str,
    exit: Exit | None = None,
) -> None:
    guard = (Job.fence == held.fence,)
    data = {"exit": exit.document()} if exit is not None else None
    if move(session, held.job_id, transition, *guard, values=values, message=message, data=data):
        return
    job = find(session, held.job_id)
    if job.fence != held.fence or job.state not in HELD:
        raise _stale(held)
    raise IllegalTransition(f"{transition} does not lead from {job.state}")


def _held_by(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return Job.id == held.job_id, Job.fence == held.fence, Job.state.in_(HELD)


def _end() -> dict[str, Any]:
    return {"finished_at": database_now(), **NO_LEASE}


def _exit(exit: Exit | None) -> dict[str, Any]:
    return {} if exit is None else {"last_exit": exit.document()}


def _stale(held: Claim) -> StaleFence:
    return StaleFence(f"{held.job_id} is no longer held under fence {held.fence}")
