"""Worker processes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from store.column_types import Document
from store.database import database_now
from store.tables.base import Base, Id


class Worker(Base):
    """A worker process that is there, or was within a day. Workers belong to no project.

    Attributes:
        devices: its GPUs, each with a `name` and `memory_bytes`.
        silent_after_seconds: without a heartbeat for that long, it is not to be counted on.
    """

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(300), index=True)
    host: Mapped[str] = mapped_column(String(300))
    pid: Mapped[int]
    queues: Mapped[list[str]]
    devices: Mapped[list[dict[str, Any]]] = mapped_column(Document())
    version: Mapped[str] = mapped_column(String(100))
    silent_after_seconds: Mapped[float]
    started_at: Mapped[datetime] = mapped_column(default=database_now())
    heartbeat_at: Mapped[datetime] = mapped_column(default=database_now())
    stopped_at: Mapped[datetime | None]
