"""The tables. Blobs and metrics stay out of the jobs table, which is what everybody polls.

Every row belongs to a project, itself or through the row that it hangs on, but for those about the
service itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from store.base import Base, Id
from store.clean import Document, Words
from store.database import database_now
from store.errors import Gone
from store.prediction_tables import (
    OWN,
    CalibrationAlert,
    Calibrator,
    Evidence,
    Label,
    Prediction,
)

__all__ = [
    "DEFAULT_PROJECT",
    "OWN",
    "AliasChange",
    "ApiKey",
    "Artifact",
    "Base",
    "BlobChunk",
    "BlobHold",
    "CalibrationAlert",
    "Calibrator",
    "Checkpoint",
    "Dataset",
    "Evidence",
    "IdempotencyRecord",
    "Job",
    "JobEvent",
    "JobMetric",
    "Label",
    "ModelAlias",
    "Prediction",
    "Project",
    "Report",
    "SignIn",
    "Webhook",
    "WebhookDelivery",
]
DEFAULT_PROJECT = "proj_" + 26 * "0"
"""Made by the migrations; what belongs to nobody else belongs to it."""


class Project(Base):
    """Whose things are whose: no key sees into another project."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class ApiKey(Base):
    """What somebody may do in a project. Only a hash of the secret is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), index=True)
    name: Mapped[str | None] = mapped_column(String(300))
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]]
    max_running_jobs: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class SignIn(Base):
    """A browser that showed a key; only hashes of its cookie and its CSRF token are kept."""

    __tablename__ = "sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(Id, ForeignKey("api_keys.id"))
    csrf_sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=database_now())
    expires_at: Mapped[datetime]


class Artifact(Base):
    """Some bytes and what is known of them; `pending` until they are whole and belong somewhere.

    `deleted` once they were given up: the row tells what they were, and keeps `blob_key` only until
    the bytes are gone.
    """

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(20))
    name: Mapped[str | None] = mapped_column(String(300))
    media_type: Mapped[str] = mapped_column(String(100))
    blob_key: Mapped[str | None] = mapped_column(String(300), index=True)
    sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None]
    job_id: Mapped[str | None] = mapped_column(Id, index=True)
    fence: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(default=database_now())

    @property
    def ref(self) -> str:
        """The key under which the artifact store has the bytes.

        Raises:
            Gone: they were deleted.
        """
        if self.state == "deleted":
            raise Gone("artifact", self.id)
        if self.blob_key is None:
            raise ValueError(f"artifact {self.id} has no bytes yet")
        return self.blob_key


class BlobChunk(Base):
    """A piece of an artifact, where the database is the artifact store."""

    __tablename__ = "blob_chunks"

    blob_key: Mapped[str] = mapped_column(String(300), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class BlobHold(Base):
    """Somebody copies artifacts: until it expires, no bytes that a row lists are deleted."""

    __tablename__ = "blob_holds"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    expires_at: Mapped[datetime]


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


class Job(Base):
    """A run that somebody asked for, and how far it is."""

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
    rung_at: Mapped[datetime | None]
    event_seq: Mapped[int] = mapped_column(Integer, default=0)
    progress: Mapped[dict[str, Any] | None] = mapped_column(Document())
    error: Mapped[dict[str, Any] | None] = mapped_column(Document())
    last_exit: Mapped[dict[str, Any] | None] = mapped_column(Document())
    snapshot_artifact_id: Mapped[str | None] = mapped_column(Id, ForeignKey("artifacts.id"))
    snapshot_step: Mapped[int | None]
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


class ModelAlias(Base):
    """A name that points to a checkpoint, and to a version of its calibrator; None is its own.

    `log_rate` is the probability with which a prediction is remembered, `log_images` whether its
    image is as well.
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


class IdempotencyRecord(Base):
    """A request that makes something, and the answer it got."""

    __tablename__ = "idempotency_records"

    project_id: Mapped[str] = mapped_column(Id, ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    route: Mapped[str] = mapped_column(String(100), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(2000))
    response: Mapped[dict[str, Any] | None] = mapped_column(Document())
    created_at: Mapped[datetime] = mapped_column(default=database_now())


class Webhook(Base):
    """Somewhere that wants to hear of the jobs and the models of a project.

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
