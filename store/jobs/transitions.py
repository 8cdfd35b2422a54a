"""Transitions of jobs: one guarded UPDATE and one event row in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import NotFound
from store.jobs.states import JobState, Transition
from store.tables import Job, JobEvent
from store.webhooks.webhooks import announce

NO_LEASE: dict[str, Any] = {"lease_expires_at": None, "worker": None, "not_responding_since": None}


def move(
    session: Session,
    job_id: str,
    transition: Transition,
    *guards: ColumnElement[bool],
    values: Mapping[str, Any] | None = None,
    message: str = "",
    data: Mapping[str, Any] | None = None,
) -> bool:
    """The one way a job changes its state; False when no row matched.

    Args:
        guards: what must hold besides the state being one that `transition` leads from.
        values: columns that change with the state.
        data: what the event tells besides state, transition, attempts and fence.
    """
    change = transition.change
    row = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(change.sources), *guards)
        .values(
            state=change.target,
            event_seq=Job.event_seq + 1,
            updated_at=database_now(),
            **(values or {}),
        )
        .returning(Job.event_seq, Job.attempts, Job.fence)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return False
    told = {
        "state": change.target.value,
        "transition": transition.value,
        "attempts": row.attempts,
        "fence": row.fence,
        **(data or {}),
    }
    level = "error" if change.target is JobState.FAILED else "info"
    session.add(
        JobEvent(
            job_id=job_id, seq=row.event_seq, type="state", level=level, message=message, data=told
        )
    )
    session.flush()
    announce(session, job_id, row.event_seq, change.target)
    return True


def add_event(
    session: Session,
    job_id: str,
    *guards: ColumnElement[bool],
    type: str,
    message: str,
    level: str = "info",
    data: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> bool:
    """Note something that leaves the state as it is; False when no row matched.

    Args:
        guards: what must hold of the job.
        values: columns that change with it.
    """
    seq = session.scalar(
        update(Job)
        .where(Job.id == job_id, *guards)
        .values(event_seq=Job.event_seq + 1, updated_at=database_now(), **(values or {}))
        .returning(Job.event_seq)
        .execution_options(synchronize_session=False)
    )
    if seq is None:
        return False
    row = JobEvent(
        job_id=job_id, seq=seq, type=type, level=level, message=message, data=dict(data or {})
    )
    session.add(row)
    session.flush()
    return True


def find(session: Session, job_id: str) -> Job:
    """The job as it stands, for those who hold it already; whose it is was asked before.

    Raises:
        NotFound: there is none with this id.
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None:
        raise NotFound("job", job_id)
    return job
