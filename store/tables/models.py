"""Checkpoints, their reports and calibrators, and the names that point to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.column_types import Document
from store.database import database_now
from store.tables.artifacts import Artifact
from store.tables.base import Base, Id


class Checkpoint(Base):
    """A classifier that a job made."""

    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), index=True)
    artifact_id: Mapped[str] = mapped_column(Id, ForeignKey("artifacts.id"))
    name: Mapped[str | None] = mapped_column(String(300))
    architecture: Mapped[str] = mapped_column(String(300))
    method: Mapped[str] = mapped_column(String(40))
    classes: Mapped[list[str]]
    templates: Mapped[list[str]]
    calibrator: Mapped[dict[str, Any] | None] = mapped_column(Document())
    metrics: Mapped[dict[str, Any]]
    warnings: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default="[]")
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    deleted_at: Mapped[datetime | None]

    artifact: Mapped[Artifact] = relationship(lazy="joined")


class Report(Base):
    """What a job measured."""

    __tablename__ = "reports"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    job_id: Mapped[str] = mapped_column(Id, ForeignKey("jobs.id"), index=True)
    checkpoint_id: Mapped[str | None] = mapped_column(Id, ForeignKey("checkpoints.id"))
    logits_artifact_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artifacts.id"))
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class Calibrator(Base):
    """One version of a checkpoint's calibrator; none is ever changed or deleted.

    `origin` is `run`, what the checkpoint's own job fitted, or `recalibration`. The likelihoods of
    a run are those on its calibration split; of a recalibration, those on held-out labels, with the
    calibrator that was served until then as `nll_before`; `held_out` tells more of them.
    """

    __tablename__ = "calibrators"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    checkpoint_id: Mapped[str] = mapped_column(Id, ForeignKey("checkpoints.id"), index=True)
    kind: Mapped[str] = mapped_column(String(40))
    document: Mapped[dict[str, Any]]
    origin: Mapped[str] = mapped_column(String(20))
    n: Mapped[int]
    nll_before: Mapped[float | None]
    nll_after: Mapped[float | None]
    held_out: Mapped[dict[str, Any] | None] = mapped_column(Document())
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class ModelAlias(Base):
    """A name that points to a checkpoint, and to a version of its calibrator; None is its own.

    `log_rate` is the probability with which a prediction is logged, `log_images` whether its image
    is as well.
    """

    __tablename__ = "model_aliases"

    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(Id, ForeignKey("checkpoints.id"))
    calibrator_id: Mapped[str | None] = mapped_column(Id, ForeignKey("calibrators.id"))
    log_rate: Mapped[float] = mapped_column(default=1.0)
    log_images: Mapped[bool] = mapped_column(Boolean, default=False)
    updated_at: Mapped[datetime] = mapped_column(default=database_now())


class AliasChange(Base):
    """Where an alias pointed from a moment on; None when it was deleted."""

    __tablename__ = "alias_changes"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    checkpoint_id: Mapped[str | None] = mapped_column(Id)
    calibrator_id: Mapped[str | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(default=database_now())
