"""Schemas of workers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.web.schemas import Time, View


class DeviceView(View):
    """A GPU of a worker."""

    name: str
    memory_bytes: int | None = Field(description="Null where the driver did not tell.")


class WorkerView(View):
    """A worker process that is there, or was within a day."""

    id: str
    name: str = Field(description="As in the jobs that it holds.")
    host: str
    pid: int
    queues: list[str] = Field(description="Kinds of jobs that it takes.")
    devices: list[DeviceView] = Field(description="Its GPUs; none on a machine without.")
    version: str
    state: Literal["idle", "busy", "silent", "stopped"] = Field(
        description="`silent` without a heartbeat for `silent_after_seconds`; `stopped` when it "
        "was told to."
    )
    job_id: str | None = Field(
        description="The job that it holds; null, too, where that belongs to another project."
    )
    silent_after_seconds: float
    started_at: Time
    heartbeat_at: Time = Field(description="When it was last heard of.")
    stopped_at: Time | None
