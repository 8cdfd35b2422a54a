"""Settings that API and worker read from the environment (`CAROT_*`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from store.logs import LogFormat, LogLevel
from store.queues import QUEUES, QueueName

DATABASE_ARTIFACTS = "database:"


class Settings(BaseSettings):
    """Settings with the embedded default: everything under one folder, no server needed."""

    model_config = SettingsConfigDict(
        env_prefix="CAROT_", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    data_dir: Path = Field(
        default=Path(".carot"), description="Folder of everything this process keeps on disk."
    )
    database_url: str = Field(
        default="", description="SQLAlchemy URL; by default SQLite in the data folder."
    )
    broker_url: str = Field(
        default="filesystem://",
        description="Celery broker; by default folders in the data folder, without a server.",
    )
    artifacts_url: str = Field(
        default="",
        description="Where checkpoints and data sets lie: `database:`, `file:///folder` or any "
        "fsspec URL. By default the database on Postgres, a folder on SQLite.",
    )
    host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port the API listens on.")
    dataset_root: Path | None = Field(
        default=None, description="Folder beneath which the server may read data sets in place."
    )
    max_upload_bytes: int = Field(
        default=2 << 30, ge=1, description="Largest upload that is accepted, in bytes."
    )
    lease_seconds: float = Field(
        default=60.0, gt=0, description="How long a worker may be silent before its job is lost."
    )
    heartbeat_seconds: float = Field(
        default=15.0, gt=0, description="How often a worker extends its lease."
    )
    max_attempts: int = Field(
        default=2, ge=1, le=100, description="How often a job is started when trainers crash."
    )
    queues: Annotated[tuple[QueueName, ...], NoDecode] = Field(
        default=QUEUES,
        min_length=1,
        description="Queues, comma separated, that a worker takes jobs from: `gpu`, `cpu`.",
    )
    default_queue: QueueName = Field(
        default="cpu", description="Queue of jobs that do not name one."
    )
    cancel_grace_seconds: float = Field(
        default=30.0, ge=0, description="From asking a trainer to stop to killing it."
    )
    warm_trainer: bool = Field(
        default=True,
        description="Whether a worker keeps a process that has loaded torch, from which a job's "
        "trainer begins in a tenth of the time; it holds some hundred MiB while there is no job.",
    )
    sweep_seconds: float = Field(
        default=5.0, gt=0, description="How often lost jobs are looked for."
    )
    ring_seconds: float = Field(
        default=30.0, gt=0, description="How long a job may wait before workers are told again."
    )
    log_level: LogLevel = Field(default="INFO", description="Least severe level that is logged.")
    log_format: LogFormat = Field(
        default="auto",
        description="`json`, one object a line; `console`, for people; `auto`, the latter on a "
        "terminal.",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    keep_checkpoints: int | None = Field(
        default=None,
        ge=1,
        description="Of each project and data set keep so many of the newest checkpoints, of the "
        "most accurate and of the best calibrated, and whatever is needed; by default all.",
    )
    keep_snapshot_days: float = Field(
        default=7.0,
        ge=0,
        description="How long a job that failed or was cancelled can go on from its snapshot.",
    )
    keep_prediction_days: float = Field(
        default=90.0,
        gt=0,
        description="How long predictions that were logged are kept, with their labels and images.",
    )

    @field_validator("queues", mode="before")
    @classmethod
    def _split_queues(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @model_validator(mode="after")
    def _fill(self) -> Self:
        data_dir = self.data_dir.expanduser().absolute()
        object.__setattr__(self, "data_dir", data_dir)
        if not self.database_url:
            self.database_url = f"sqlite:///{data_dir / 'carot.db'}"
        if not self.artifacts_url:
            folder = (data_dir / "artifacts").as_uri()
            self.artifacts_url = folder if self.is_sqlite else DATABASE_ARTIFACTS
        if self.heartbeat_seconds >= self.lease_seconds:
            raise ValueError("heartbeat_seconds must be less than lease_seconds")
        return self

    @property
    def late_seconds(self) -> float:
        """A lease with no more than this to go was not extended when it should have been."""
        return max(0.0, self.lease_seconds - 2.5 * self.heartbeat_seconds)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is the embedded one."""
        return self.database_url.startswith("sqlite")

    @property
    def embedded_broker(self) -> bool:
        """Whether the broker is folders instead of a server."""
        return self.broker_url.startswith("filesystem:")

    @property
    def broker_transport_options(self) -> dict[str, Any]:
        """Celery's options for the broker, in producer and worker alike."""
        if not self.embedded_broker:
            return {"socket_timeout": 30, "socket_keepalive": True, "health_check_interval": 30}
        folder = self.data_dir / "broker"
        for name in ("messages", "control", "processed"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        return {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "processed_folder": str(folder / "processed"),
            "control_folder": str(folder / "control"),
            "store_processed": False,
            "polling_interval": 0.2,
        }
