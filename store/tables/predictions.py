"""Predictions, their labels, and what the labels say about a model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.column_types import Document, Words
from store.database import database_now
from store.tables.base import Base, Id

OWN = ""
"""In a key, where a row of `calibrators` would be named: the checkpoint's own calibrator."""


class Prediction(Base):
    """What was answered for one image of an alias, and by what.

    `created_at` is when it was answered, by the clock of that process; ids sort by it. `logits` are
    float32, little-endian, or None where there are too many classes (`MAX_LOGITS`). A calibrator
    of None is the checkpoint's own. `log_rate` is the probability with which it was logged.
    """

    __tablename__ = "predictions"
    __table_args__ = (Index("ix_predictions_project_id_alias_id", "project_id", "alias", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"))
    alias: Mapped[str] = mapped_column(String(100))
    checkpoint_id: Mapped[str] = mapped_column(Id, ForeignKey("checkpoints.id"))
    calibrator_id: Mapped[str | None] = mapped_column(Id, ForeignKey("calibrators.id"))
    class_index: Mapped[int] = mapped_column(Integer)
    confidence: Mapped[float]
    raw_confidence: Mapped[float]
    shift: Mapped[float | None]
    logits: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    log_rate: Mapped[float]
    image_artifact_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artifacts.id"))
    created_at: Mapped[datetime] = mapped_column(default=database_now())

    truth: Mapped[Label | None] = relationship(lazy="joined", viewonly=True)


class Label(Base):
    """What an image really showed; `changed_at` is when this took the place of another label."""

    __tablename__ = "labels"

    prediction_id: Mapped[str] = mapped_column(Id, ForeignKey("predictions.id"), primary_key=True)
    class_index: Mapped[int] = mapped_column(Integer)
    key_id: Mapped[str | None] = mapped_column(Id, ForeignKey("api_keys.id"))
    given_at: Mapped[datetime] = mapped_column(default=database_now())
    changed_at: Mapped[datetime | None]


class Evidence(Base):
    """The e-process against one calibrator of one checkpoint, while an alias points there.

    `coverage` is how the thresholds of sets followed the same labels (`store.models.coverage`).
    """

    __tablename__ = "e_processes"

    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(100), primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(Id, ForeignKey("checkpoints.id"), primary_key=True)
    calibrator: Mapped[str] = mapped_column(Id, primary_key=True)
    state: Mapped[dict[str, Any] | None] = mapped_column(Document())
    coverage: Mapped[dict[str, Any] | None] = mapped_column(Document())
    begun_at: Mapped[datetime] = mapped_column(default=database_now())
    rejected_at: Mapped[datetime | None]


class CalibrationAlert(Base):
    """A test rejected that an alias's confidences are true; open until its target changes."""

    __tablename__ = "calibration_alerts"
    __table_args__ = (
        Index("ix_calibration_alerts_project_id_alias_id", "project_id", "alias", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"))
    alias: Mapped[str] = mapped_column(String(100))
    checkpoint_id: Mapped[str] = mapped_column(Id, ForeignKey("checkpoints.id"))
    calibrator_id: Mapped[str | None] = mapped_column(Id, ForeignKey("calibrators.id"))
    evidence: Mapped[float]
    alpha: Mapped[float]
    labels: Mapped[int]
    finding: Mapped[str | None] = mapped_column(Words())
    raised_at: Mapped[datetime] = mapped_column(default=database_now())
    resolved_at: Mapped[datetime | None]
