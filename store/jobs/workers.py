"""Workers: which are alive, their devices, and the job that each holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from store.database import Database, database_now
from store.ids import new_id
from store.jobs.states import HELD
from store.pages import Page, fetch_page
from store.tables import Job, Worker


class WorkerState(StrEnum):
    """What a worker is doing."""

    IDLE = "idle"
    BUSY = "busy"
    SILENT = "silent"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Holder:
    """A worker as one project sees it.

    Attributes:
        job_id: the job that it holds, where that is one of the project.
    """

    row: Worker
    state: WorkerState
    job_id: str | None


@dataclass(frozen=True)
class Presence:
    """A worker process that reports regularly that it is alive.

    Attributes:
        name: as in the jobs that it holds.
        devices: its GPUs, each with a `name` and `memory_bytes`.
        silent_after_seconds: how long others may go without hearing of it.
    """

    name: str
    host: str
    pid: int
    queues: Sequence[str]
    devices: Sequence[Mapping[str, Any]]
    version: str
    silent_after_seconds: float
    id: str = field(default_factory=lambda: new_id("wrk"))

    def beat(self, database: Database) -> None:
        """Be there, by the database's clock. A predecessor of the same name is forgotten."""
        with database.session() as session:
            known = session.execute(
                update(Worker)
                .where(Worker.id == self.id)
                .values(heartbeat_at=database_now())
                .returning(Worker.id)
            ).first()
            if known is None:
                session.execute(delete(Worker).where(Worker.name == self.name))
                session.add(self._row())

    def leave(self, database: Database) -> None:
        """Store that the process stops as requested."""
        with database.session() as session:
            session.execute(
                update(Worker)
                .where(Worker.id == self.id)
                .values(heartbeat_at=database_now(), stopped_at=database_now())
            )

    def _row(self) -> Worker:
        return Worker(
            id=self.id,
            name=self.name,
            host=self.host,
            pid=self.pid,
            queues=list(self.queues),
            devices=[dict(device) for device in self.devices],
            version=self.version,
            silent_after_seconds=self.silent_after_seconds,
        )


def list_workers(
    session: Session, project: str, *, cursor: str | None = None, limit: int = 50
) -> Page[Holder]:
    """Workers, the latest started first; of their jobs only those of the project are named."""
    page = fetch_page(session, select(Worker), Worker.id, cursor=cursor, limit=limit)
    names = [row.name for row in page.data]
    query = select(Job.worker, Job.id, Job.project_id).where(
        Job.state.in_(HELD), Job.worker.in_(names)
    )
    held = {worker: (job, owner) for worker, job, owner in session.execute(query)}
    now = session.scalars(select(database_now())).one()
    data = []
    for row in page.data:
        job, owner = held.get(row.name, (None, None))
        state = _state(row, now, busy=job is not None)
        data.append(Holder(row, state, job if owner == project else None))
    return Page(data, page.next_cursor)


def forget_workers(session: Session, seconds: float) -> None:
    """Delete workers that have been silent for so long."""
    session.execute(delete(Worker).where(Worker.heartbeat_at < database_now(-seconds)))


def _state(row: Worker, now: datetime, *, busy: bool) -> WorkerState:
    if row.stopped_at is not None:
        return WorkerState.STOPPED
    if now - row.heartbeat_at > timedelta(seconds=row.silent_after_seconds):
        return WorkerState.SILENT
    return WorkerState.BUSY if busy else WorkerState.IDLE
