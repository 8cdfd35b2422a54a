"""Webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from store.column_types import Words
from store.database import database_now
from store.tables.base import Base, Id


class Webhook(Base):
    """A URL that receives events of a project's jobs and models.

    `events` are the kinds it hears of, `states` those of jobs; without any, of all.
    `failing_since` is the first of its failures since it last took something.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    url: Mapped[str] = mapped_column(String(2000))
    secret: Mapped[str] = mapped_column(String(100))
    states: Mapped[list[str]]
    events: Mapped[list[str]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(Words())


class WebhookDelivery(Base):
    """One event on its way to one webhook; to be tried while `next_attempt_at` is set.

    An event of a job has the job's `seq`; one that only tests a webhook has no job.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "job_id", "seq"),
        Index("ix_webhook_deliveries_webhook_id_next_attempt_at", "webhook_id", "next_attempt_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    webhook_id: Mapped[str] = mapped_column(Id, ForeignKey("webhooks.id"))
    job_id: Mapped[str | None] = mapped_column(Id, ForeignKey("jobs.id"), index=True)
    seq: Mapped[int] = mapped_column(Integer)
    payload: Mapped[dict[str, Any]]
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(Words())
    created_at: Mapped[datetime] = mapped_column(default=database_now())
