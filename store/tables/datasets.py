"""Data sets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.database import database_now
from store.tables.artifacts import Artifact
from store.tables.base import Base, Id


class Dataset(Base):
    """A data set that jobs can name; without an artifact it is one that comes with the project."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(300))
    source: Mapped[dict[str, Any]]
    classes: Mapped[list[str]]
    splits: Mapped[dict[str, Any]]
    images: Mapped[int]
    bytes: Mapped[int]
    artifact_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artifacts.id"))
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    deleted_at: Mapped[datetime | None]

    artifact: Mapped[Artifact | None] = relationship(lazy="joined")
