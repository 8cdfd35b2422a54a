"""Jobs: made, claimed, kept alive, finished.

Every change of state is one guarded UPDATE and one event row in the caller's transaction, through
`_move`. Every write of a worker carries its fence: when another worker has claimed the job since,
or the lease was taken away, it matches no row and raises `StaleFence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from carot.specs import AnySpec, FinetuneSpec, InterpolateSpec, MergeSpec
from store.clean import clean
from store.database import database_now
from store.errors import IllegalTransition, NotFound, StaleFence
from store.ids import new_id
from store.pages import Page, fetch_page
from store.states import HELD, JobState, Transition
from store.tables import DEFAULT_PROJECT, Job, JobEvent, JobMetric

DEFAULT_MAX_ATTEMPTS = 2
NO_LEASE: dict[str, Any] = {"lease_expires_at": None, "worker": None}


@dataclass(frozen=True)
class Claim:
    """A worker's right to a job, until its lease ends. `fence` grows with every claim."""

    job_id: str
    project_id: str
    fence: int
    attempt: int
    worker: str
    kind: str
    spec: dict[str, Any]
    name: str | None
    alias: str | None
    snapshot_artifact_id: str | None


def create_job(
    session: Session,
    spec: AnySpec,
    *,
    project: str = DEFAULT_PROJECT,
    key_id: str | None = None,
    name: str | None = None,
    alias: str | None = None,
    max_attempts: int = DEFAULT_MAX_ATTEMPTS,
) -> Job:
    """A new job, queued, with its first event."""
    job = Job(
        id=new_id("job"),
        project_id=project,
        key_id=key_id,
        kind=spec.kind,
        name=name,
        alias=alias,
        state=JobState.QUEUED,
        spec=spec.model_dump(mode="json"),
        dataset=spec.dataset,
        method=_method(spec),
        max_attempts=max_attempts,
        rung_at=database_now(),
        event_seq=1,
    )
    session.add(job)
    session.flush()
    session.add(JobEvent(job_id=job.id, seq=1, type="state", message="", data={"state": job.state}))
    session.flush()
    session.refresh(job)
    return job


def get_job(
    session: Session, job_id: str, *, project: str | None = None, lock: bool = False
) -> Job:
    """The job as it stands; with `lock`, as it stays until this transaction ends.

    Raises:
        NotFound: there is none with this id, or it is not the project's.
    """
    query = select(Job).where(Job.id == job_id)
    if project is not None:
        query = query.where(Job.project_id == project)
    if lock:
        query = query.with_for_update()
    job = session.scalar(query.execution_options(populate_existing=True))
    if job is None:
        raise NotFound("job", job_id)
    return job


def list_jobs(
    session: Session,
    *,
    project: str | None = None,
    state: str | None = None,
    kind: str | None = None,
    updated_after: datetime | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Job]:
    """Jobs, newest first."""
    query = select(Job)
    if project is not None:
        query = query.where(Job.project_id == project)
    if state is not None:
        query = query.where(Job.state == state)
    if kind is not None:
        query = query.where(Job.kind == kind)
    if updated_after is not None:
        query = query.where(Job.updated_at > updated_after)
    return fetch_page(session, query, Job.id, cursor=cursor, limit=limit)


def cancel_job(session: Session, job_id: str, *, project: str | None = None) -> Job:
    """End a queued job at once; ask the worker of a running one to stop.

    Asking again while it is stopping changes nothing.

    Raises:
        NotFound: there is none with this id.
        IllegalTransition: the job has ended.
    """
    get_job(session, job_id, project=project, lock=True)
    ended = {"finished_at": database_now()}
    if not _move(session, job_id, Transition.CANCEL_QUEUED, values=ended) and not _move(
        session, job_id, Transition.ASK_TO_CANCEL
    ):
        job = get_job(session, job_id)
        if job.state != JobState.CANCELLING:
            raise IllegalTransition(f"the job has already {_ended(job.state)}")
    return get_job(session, job_id)


def claim(session: Session, job_id: str, worker: str, lease_seconds: float) -> Claim | None:
    """Take a queued job, or one whose lease ran out; None when somebody else has it.

    Taking it counts as an attempt.
    """
    values = {
        "worker": worker,
        "fence": Job.fence + 1,
        "attempts": Job.attempts + 1,
        "lease_expires_at": database_now(lease_seconds),
        "started_at": func.coalesce(Job.started_at, database_now()),
        "error": None,
    }
    message = f"taken by {worker}"
    expired = (Job.lease_expires_at < database_now(), Job.attempts < Job.max_attempts)
    if not _move(session, job_id, Transition.CLAIM, values=values, message=message) and not _move(
        session, job_id, Transition.TAKE_OVER, *expired, values=values, message=message
    ):
        return None
    job = get_job(session, job_id)
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
        snapshot_artifact_id=job.snapshot_artifact_id,
    )


def beat(
    session: Session, held: Claim, lease_seconds: float, progress: dict[str, Any] | None = None
) -> JobState:
    """Extend the lease, and learn whether the job is to be cancelled.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    values: dict[str, Any] = {"lease_expires_at": database_now(lease_seconds)}
    if progress is not None:
        values |= {"progress": progress, "updated_at": database_now()}
    state = session.scalar(update(Job).where(*_held_by(held)).values(**values).returning(Job.state))
    if state is None:
        raise _stale(held)
    return JobState(state)


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
    seq = session.scalar(
        update(Job)
        .where(*_held_by(held))
        .values(event_seq=Job.event_seq + 1, updated_at=database_now())
        .returning(Job.event_seq)
    )
    if seq is None:
        raise _stale(held)
    session.add(
        JobEvent(
            job_id=held.job_id,
            seq=seq,
            type=type,
            level=level,
            message=message,
            data=dict(data or {}),
        )
    )
    session.flush()


def record_metrics(
    session: Session, held: Claim, points: list[tuple[int, str, float | None]]
) -> None:
    """Note values of curves, (step, name, value); a step done again after a resume replaces it.

    A value that is not finite is kept as None.

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
    """Take the job's row for this transaction; nobody else can claim it before it ends.

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
    job = get_job(session, held.job_id)
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
    values = {"checkpoint_id": checkpoint_id, "report_id": report_id, **_end()}
    _finish(session, held, Transition.SUCCEED, values, "")


def fail(session: Session, held: Claim, error: Mapping[str, Any]) -> None:
    """The run cannot succeed: `error` has code, message, and perhaps field and names.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled.
    """
    values = {"error": dict(error), **_end()}
    _finish(session, held, Transition.FAIL, values, str(error.get("message", "")))


def release(session: Session, held: Claim, reason: str) -> None:
    """Give the job back without losing an attempt: this worker shuts down.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled.
    """
    values = {"attempts": Job.attempts - 1, "rung_at": None, **NO_LEASE}
    _finish(session, held, Transition.RELEASE, values, reason)


def lose_attempt(session: Session, held: Claim, code: str, reason: str) -> JobState:
    """The trainer died: back to the queue while attempts are left, else failed for `reason`.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: it is being cancelled.
    """
    job = get_job(session, held.job_id)
    if job.attempts < job.max_attempts:
        values = {"rung_at": None, **NO_LEASE}
        _finish(session, held, Transition.REQUEUE, values, reason)
        return JobState.QUEUED
    fail(session, held, {"code": code, "message": reason})
    return JobState.FAILED


def mark_cancelled(session: Session, held: Claim) -> None:
    """The run has stopped as it was asked to.

    Raises:
        StaleFence: the job is no longer this worker's.
        IllegalTransition: nobody asked for it.
    """
    _finish(session, held, Transition.CONFIRM_CANCEL, _end(), "")


def expire(session: Session, job_id: str) -> JobState | None:
    """Take a job from a worker whose lease ran out; None when it did not, or somebody was faster.

    Back to the queue while attempts are left, else failed; a job that was being cancelled is.
    """
    silent = (Job.lease_expires_at < database_now(),)
    reason = "its worker fell silent"
    if _move(session, job_id, Transition.CONFIRM_CANCEL, *silent, values=_end(), message=reason):
        return JobState.CANCELLED
    again = {"rung_at": None, **NO_LEASE}
    left = (*silent, Job.attempts < Job.max_attempts)
    if _move(session, job_id, Transition.REQUEUE, *left, values=again, message=reason):
        return JobState.QUEUED
    error = {"code": "worker_lost", "message": f"{reason}, and no attempt is left"}
    values = {"error": error, **_end()}
    if _move(session, job_id, Transition.FAIL, *silent, values=values, message=error["message"]):
        return JobState.FAILED
    return None


def _method(spec: AnySpec) -> str | None:
    match spec:
        case FinetuneSpec() | MergeSpec():
            return spec.method.name
        case InterpolateSpec():
            return "wise_ft"
        case _:
            return None


def _finish(
    session: Session, held: Claim, transition: Transition, values: dict[str, Any], message: str
) -> None:
    guard = (Job.fence == held.fence,)
    if _move(session, held.job_id, transition, *guard, values=values, message=message):
        return
    job = get_job(session, held.job_id)
    if job.fence != held.fence or job.state not in HELD:
        raise _stale(held)
    raise IllegalTransition(f"{transition} does not lead from {job.state}")


def _move(
    session: Session,
    job_id: str,
    transition: Transition,
    *guards: ColumnElement[bool],
    values: Mapping[str, Any] | None = None,
    message: str = "",
) -> bool:
    """The one way a job changes its state; False when no row matched."""
    change = transition.change
    seq = session.scalar(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(change.sources), *guards)
        .values(
            state=change.target,
            event_seq=Job.event_seq + 1,
            updated_at=database_now(),
            **(values or {}),
        )
        .returning(Job.event_seq)
        .execution_options(synchronize_session=False)
    )
    if seq is None:
        return False
    data = {"state": change.target.value, "transition": transition.value}
    level = "error" if change.target is JobState.FAILED else "info"
    session.add(
        JobEvent(job_id=job_id, seq=seq, type="state", level=level, message=message, data=data)
    )
    session.flush()
    return True


def _held_by(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return Job.id == held.job_id, Job.fence == held.fence, Job.state.in_(HELD)


def _end() -> dict[str, Any]:
    return {"finished_at": database_now(), **NO_LEASE}


def _stale(held: Claim) -> StaleFence:
    return StaleFence(f"{held.job_id} is no longer held under fence {held.fence}")


def _ended(state: str) -> str:
    return "been cancelled" if state == JobState.CANCELLED else state
