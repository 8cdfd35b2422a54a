"""Jobs, their events and their metrics.

Blobs and metrics stay out of the jobs table, which is what everybody polls.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from store.column_types import Document, Words
from store.database import database_now
from store.tables.base import Base, Id


class Job(Base):
    """A requested run, and its state."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_lease_expires_at", "state", "lease_expires_at"),
        Index("ix_jobs_updated_at", "updated_at"),
        Index("ix_jobs_state_queue_priority", "state", "queue", "priority"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(300))
    alias: Mapped[str | None] = mapped_column(String(100))
    state: Mapped[str] = mapped_column(String(20))
    spec: Mapped[dict[str, Any]]
    dataset: Mapped[str] = mapped_column(String(1024))
    method: Mapped[str | None] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(Id, ForeignKey("api_keys.id"))
    queue: Mapped[str] = mapped_column(String(20), default="cpu")
    priority: Mapped[int] = mapped_column(Integer, default=0)
    processes: Mapped[int] = mapped_column(Integer, default=1)
    max_seconds: Mapped[float | None]
    seconds_spent: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    max_attempts: Mapped[int] = mapped_column(Integer)
    retries: Mapped[int] = mapped_column(Integer, default=0)
    fence: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(300))
    lease_expires_at: Mapped[datetime | None]
    not_responding_since: Mapped[datetime | None]
    notified_at: Mapped[datetime | None] = mapped_column("rung_at")
    event_seq: Mapped[int] = mapped_column(Integer, default=0)
    progress: Mapped[dict[str, Any] | None] = mapped_column(Document())
    error: Mapped[dict[str, Any] | None] = mapped_column(Document())
    last_exit: Mapped[dict[str, Any] | None] = mapped_column(Document())
    snapshot_artifact_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artifacts.id"))
    snapshot_step: Mapped[int | None]
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default="[]")
    alias_when: Mapped[str] = mapped_column(String(10), default="better", server_default="better")
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    report_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    updated_at: Mapped[datetime] = mapped_column(default=database_now())
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobEvent(Base):
    """One thing that happened to a job; `seq` counts from 1 without gaps."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    type: Mapped[str] = mapped_column(String(40))
    level: Mapped[str] = mapped_column(String(10), default="info")
    message: Mapped[str] = mapped_column(Words(), default="")
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class JobMetric(Base):
    """One value of one curve of a job."""

    __tablename__ = "job_metrics"

    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]
