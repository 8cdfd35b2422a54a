"""Jobs as users see them: created, listed, paused, cancelled, retried.

What a worker does with them is in `store.jobs.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, load_only

from carot.specs import AnySpec, FinetuneSpec, InterpolateSpec, MergeSpec
from store.database import database_now
from store.errors import IllegalTransition, NotFound
from store.ids import new_id
from store.jobs.states import TERMINAL, JobState, Transition
from store.jobs.transitions import add_event, find, move
from store.pages import Page, fetch_page, has_in
from store.queues import QueueName
from store.tables import Job, JobEvent
from store.webhooks.webhooks import announce

DEFAULT_MAX_ATTEMPTS = 2
AliasWhen = Literal["better", "always"]
"""When a job points its alias at its checkpoint: unless a warning holds it back, or always."""


@dataclass(frozen=True)
class Wishes:
    """How a job is to be run.

    Attributes:
        queue: workers of which kind may take it.
        priority: higher goes first; equal ones in the order they were made.
        processes: how many train it together, each on a GPU of its own where there are some.
        max_seconds: how long it may run in all its attempts together.
        max_attempts: how often it is started when trainers crash or workers fall silent.
    """

    queue: QueueName = "cpu"
    priority: int = 0
    processes: int = 1
    max_seconds: float | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS


def create_job(
    session: Session,
    spec: AnySpec,
    *,
    project: str,
    key_id: str | None = None,
    name: str | None = None,
    alias: str | None = None,
    alias_when: AliasWhen = "better",
    wishes: Wishes | None = None,
    request_id: str | None = None,
) -> Job:
    """A new job, queued, with its first event.

    Args:
        request_id: of the request that asked for it; the event stores it.
    """
    wishes = wishes or Wishes()
    job = Job(
        id=new_id("job"),
        project_id=project,
        key_id=key_id,
        kind=spec.kind,
        name=name,
        alias=alias,
        alias_when=alias_when,
        state=JobState.QUEUED,
        spec=spec.model_dump(mode="json"),
        dataset=spec.dataset,
        method=_method(spec),
        queue=wishes.queue,
        priority=wishes.priority,
        processes=wishes.processes,
        max_seconds=wishes.max_seconds,
        max_attempts=wishes.max_attempts,
        notified_at=database_now(),
        event_seq=1,
    )
    session.add(job)
    session.flush()
    data = {"state": job.state} | ({"request_id": request_id} if request_id else {})
    session.add(JobEvent(job_id=job.id, seq=1, type="state", message="", data=data))
    session.flush()
    announce(session, job.id, 1, job.state)
    session.refresh(job)
    return job


def get_job(session: Session, project: str, job_id: str, *, lock: bool = False) -> Job:
    """The job as it stands; with `lock`, as it stays until this transaction ends.

    Raises:
        NotFound: the project has none with this id.
    """
    query = select(Job).where(Job.id == job_id, Job.project_id == project)
    if lock:
        query = query.with_for_update()
    job = session.scalar(query.execution_options(populate_existing=True))
    if job is None:
        raise NotFound("job", job_id)
    return job


@dataclass(frozen=True)
class JobFilter:
    """Which jobs of a list; by default all.

    Attributes:
        states: one of these, where there are any.
        search: somewhere in name, id, data set or alias, in whatever case.
        updated_after: changed since.
    """

    states: tuple[JobState, ...] = ()
    kind: str | None = None
    method: str | None = None
    search: str | None = None
    updated_after: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What holds of these jobs."""
        found: list[ColumnElement[bool]] = []
        if self.states:
            found.append(Job.state.in_(self.states))
        if self.kind is not None:
            found.append(Job.kind == self.kind)
        if self.method is not None:
            found.append(Job.method == self.method)
        if self.updated_after is not None:
            found.append(Job.updated_at > self.updated_after)
        if self.search:
            found.append(has_in(self.search, Job.name, Job.id, Job.dataset, Job.alias))
        return found


def list_jobs(
    session: Session,
    project: str,
    wanted: JobFilter | None = None,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Job]:
    """Jobs of a project, newest first."""
    conditions = (wanted or JobFilter()).conditions()
    query = select(Job).where(Job.project_id == project, *conditions)
    # Ids first: SQLite sorts what it reads, and of thousands of jobs most of that is their specs.
    ids_only = query.options(load_only(Job.id))
    page = fetch_page(session, ids_only, Job.id, cursor=cursor, limit=limit)
    whole = select(Job).where(Job.id.in_([job.id for job in page.data]))
    session.scalars(whole.execution_options(populate_existing=True)).all()
    return page


def queue_positions(session: Session, jobs: Sequence[Job]) -> dict[str, int]:
    """The place in line, from 1, of those that are queued, in the order that workers take them.

    All projects wait in the same line, so jobs of others count.
    """
    waiting = [job.id for job in jobs if job.state == JobState.QUEUED]
    if not waiting:
        return {}
    place = func.row_number().over(partition_by=Job.queue, order_by=(Job.priority.desc(), Job.id))
    line = select(Job.id, place.label("place")).where(Job.state == JobState.QUEUED).subquery()
    rows = session.execute(select(line.c.id, line.c.place).where(line.c.id.in_(waiting)))
    return {job_id: int(position) for job_id, position in rows}


def cancel_job(session: Session, project: str, job_id: str) -> Job:
    """End a waiting job at once; ask the worker of a running one to stop.

    Asking again while it is stopping changes nothing.

    Raises:
        NotFound: the project has none with this id.
        IllegalTransition: the job has ended.
    """
    job = get_job(session, project, job_id, lock=True)
    if job.state == JobState.CANCELLING:
        return job
    ended = {"finished_at": database_now()}
    return _first_of(
        session,
        job,
        {Transition.CANCEL_WAITING: ended, Transition.ASK_TO_CANCEL: {}},
        f"the job has already {_ended(job.state)}",
    )


def pause_job(session: Session, project: str, job_id: str) -> Job:
    """Pause a waiting job at once; ask the worker of a running one to snapshot and stop.

    Asking again changes nothing.

    Raises:
        NotFound: the project has none with this id.
        IllegalTransition: the job has ended, or is being cancelled.
    """
    job = get_job(session, project, job_id, lock=True)
    if job.state in (JobState.PAUSING, JobState.PAUSED):
        return job
    cancelling = job.state == JobState.CANCELLING
    return _first_of(
        session,
        job,
        {Transition.PAUSE_WAITING: {}, Transition.ASK_TO_PAUSE: {}},
        "the job is being cancelled" if cancelling else f"the job has already {_ended(job.state)}",
    )


def resume_job(session: Session, project: str, job_id: str) -> Job:
    """Put a paused job back into the queue; it goes on from its last snapshot.

    Raises:
        NotFound: the project has none with this id.
        IllegalTransition: the job is not paused.
    """
    job = get_job(session, project, job_id, lock=True)
    again = {Transition.RESUME: {"notified_at": database_now()}}
    return _first_of(session, job, again, f"the job is not paused but {job.state}")


def retry_job(session: Session, project: str, job_id: str) -> Job:
    """Queue a job that failed or was cancelled once more, from its last snapshot if it has one.

    Its attempts and its time limit start again from zero.

    Raises:
        NotFound: the project has none with this id.
        IllegalTransition: the job has not ended, or it has succeeded.
    """
    job = get_job(session, project, job_id, lock=True)
    again = {
        "retries": Job.retries + 1,
        "attempts": 0,
        "seconds_spent": 0.0,
        "error": None,
        "warnings": [],
        "finished_at": None,
        "notified_at": database_now(),
    }
    why = f"only a failed or cancelled job can be tried again; this one is {job.state}"
    return _first_of(session, job, {Transition.RETRY: again}, why)


def set_priority(session: Session, project: str, job_id: str, priority: int) -> Job:
    """Let a job go before those of a lower priority.

    Raises:
        NotFound: the project has none with this id.
        IllegalTransition: the job has ended.
    """
    job = get_job(session, project, job_id, lock=True)
    if job.state in TERMINAL:
        raise IllegalTransition(f"the job has already {_ended(job.state)}")
    if job.priority != priority:
        data = {"before": job.priority, "priority": priority}
        message = f"priority {priority} instead of {job.priority}"
        values = {"priority": priority}
        add_event(session, job.id, type="priority", message=message, data=data, values=values)
    return find(session, job_id)


def _first_of(
    session: Session, job: Job, ways: Mapping[Transition, Mapping[str, Any]], otherwise: str
) -> Job:
    if any(move(session, job.id, way, values=values) for way, values in ways.items()):
        return find(session, job.id)
    raise IllegalTransition(otherwise)


def _method(spec: AnySpec) -> str | None:
    match spec:
        case FinetuneSpec() | MergeSpec():
            return spec.method.name
        case InterpolateSpec():
            return "wise_ft"
        case _:
            return None


def _ended(state: str) -> str:
    return "been cancelled" if state == JobState.CANCELLED else state
