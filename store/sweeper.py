"""Finds jobs that nobody works on: silent workers, lost messages. Any number may run at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import ColumnElement, or_, select, update

from store.artifacts import open_store
from store.database import Database, database_now
from store.jobs.claims import expire, mark_not_responding
from store.jobs.states import HELD, JobState
from store.queues import QUEUES, QueueName
from store.retention.retention import tidy
from store.settings import Settings
from store.tables import Job

log = structlog.get_logger("sweeper")
PER_SWEEP = 100
MOST_NOTIFIED = 10
"""Workers are notified of only so many of the oldest queued jobs: while every worker is busy,
messages would otherwise pile up in the broker, one for each job and `ring_seconds`."""
GARBAGE_EVERY = 120
"""Sweeps between two looks for what is to be deleted."""


def sweep_once(
    database: Database, settings: Settings, notify: Callable[[str, str], object]
) -> list[str]:
    """Take jobs from silent workers, name those that are late, and notify workers of waiting jobs.

    Args:
        notify: called with a job's id and queue.

    Returns:
        Ids of the jobs that workers were notified of.
    """
    for job_id in _held(database, 0.0):
        with database.session() as session:
            state = expire(session, job_id)
        if state is not None:
            log.warning("worker_lost", job_id=job_id, state=state)
    for job_id in _held(database, settings.late_seconds, Job.not_responding_since.is_(None)):
        with database.session() as session:
            if mark_not_responding(session, job_id, settings.late_seconds):
                log.warning("worker_not_responding", job_id=job_id)
    return _notify(database, settings, notify)


def _held(
    database: Database, seconds_left: float, *conditions: ColumnElement[bool]
) -> Sequence[str]:
    """Jobs whose lease has no more than that to go."""
    late = Job.lease_expires_at < database_now(seconds_left)
    query = select(Job.id).where(Job.state.in_(HELD), late, *conditions).limit(PER_SWEEP)
    with database.reading() as session:
        return session.scalars(query).all()


def _notify(
    database: Database, settings: Settings, notify: Callable[[str, str], object]
) -> list[str]:
    """Notify workers of the first jobs of each queue, unless that was done recently."""
    queued = Job.state == JobState.QUEUED
    due = or_(Job.notified_at.is_(None), Job.notified_at < database_now(-settings.ring_seconds))
    found: list[tuple[str, QueueName]] = []
    for queue in QUEUES:
        line = Job.priority.desc(), Job.id
        first = (
            select(Job.id).where(queued, Job.queue == queue).order_by(*line).limit(MOST_NOTIFIED)
        )
        with database.reading() as session:
            rows = session.scalars(select(Job.id).where(Job.id.in_(first), due).order_by(*line))
            found += [(job_id, queue) for job_id in rows]
    notified = []
    for job_id, queue in found:
        with database.session() as session:
            mine = session.scalar(
                update(Job)
                .where(Job.id == job_id, queued, due)
                .values(notified_at=database_now())
                .returning(Job.id)
            )
        if mine is not None:
            notify(job_id, queue)
            notified.append(job_id)
    return notified


class Sweeper:
    """A thread that sweeps until it is stopped.

    Args:
        notify: called with a job's id and queue.
        after: called behind every sweep, whether it went well or not.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        notify: Callable[[str, str], object],
        after: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = database
        self._settings = settings
        self._notify = notify
        self._after = after
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether it sweeps."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin sweeping."""
        self._thread.start()

    def stop(self) -> None:
        """End the sweep under way and the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        sweeps = 0
        while not self._stopping.wait(self._settings.sweep_seconds):
            try:
                sweep_once(self._database, self._settings, self._notify)
                if sweeps % GARBAGE_EVERY == 0:
                    artifacts = open_store(self._settings, self._database)
                    tidy(self._database, artifacts, self._settings)
            # The database, the broker or the artifact store is away, each with errors of its own;
            # the next sweep sees whether it is back.
            except Exception:
                log.exception("sweep_failed")
            sweeps += 1
            try:
                self._after()
            except Exception:
                log.exception("sweep_failed")
