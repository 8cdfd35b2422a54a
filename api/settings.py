"""Settings that only the API reads, besides the shared ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from api.web.addresses import Allowed
from store.settings import Settings


class ApiSettings(Settings):
    """Settings of the API process, from `CAROT_*` variables."""

    allowed_hosts: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Names, comma separated, that requests may call this server by, besides those "
        "of the loopback interface and `host`. Without any: only those while there are no keys, "
        "and every name once there are.",
    )
    insecure: bool = Field(
        default=False,
        description="While there are no keys, answer anybody under any name: whoever reaches the "
        "port may do everything. Once there are keys, it changes nothing.",
    )
    rate_per_minute: int = Field(
        default=3000,
        ge=0,
        description="Requests a minute of each key, and of each address without one; more are "
        "answered 429. 0: any number. Each API process counts for itself.",
    )
    failures_per_minute: int = Field(
        default=30,
        ge=0,
        description="Wrong keys a minute from one address, and for one id of a key, beyond "
        "which wrong ones are answered 429. Right ones never are. 0: any number.",
    )
    streams: int = Field(
        default=200,
        ge=1,
        description="Most event streams of jobs that are open at once; more are answered 503.",
    )
    streams_per_key: int = Field(
        default=50,
        ge=1,
        description="Most event streams of one key, and of one address without one; more are "
        "answered 429.",
    )
    session_hours: float = Field(
        default=12.0, gt=0, le=24 * 365, description="How long a browser stays signed in."
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="Addresses or networks, comma separated, of proxies whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed.",
    )
    max_body_bytes: int = Field(
        default=64 << 20,
        ge=1024,
        description="Largest request body, in bytes, of everything but uploads.",
    )
    max_json_bytes: int = Field(
        default=4 << 20,
        ge=1024,
        description="Largest request body, in bytes, of everything but predictions and uploads.",
    )
    body_pause_seconds: float = Field(
        default=60.0, gt=0, le=3600, description="How long a request's body may pause."
    )
    max_image_bytes: int = Field(
        default=20 << 20, ge=1024, description="Largest encoded image of a prediction, in bytes."
    )
    max_images: int = Field(default=64, ge=1, description="Most images in one prediction request.")
    predict_batch: int | None = Field(
        default=None,
        ge=1,
        description="Most images in one model pass; by default 64 on a GPU and 16 on a CPU, where "
        "larger batches are hardly faster, and everybody waits for them.",
    )
    predict_wait_seconds: float | None = Field(
        default=None,
        ge=0,
        description="How long a batch waits for images that are still being decoded; without any "
        "it waits for nothing. By default a fifth of what the model's last pass took, at most "
        "0.2 and at least 0.003 on a GPU and 0.01 on a CPU.",
    )
    predict_queue: int = Field(
        default=512,
        ge=1,
        description="Images that may be decoded or wait for one model; more are answered 503.",
    )
    predict_deadline_seconds: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="The longest that a prediction may take once its body is there, loading "
        "included, before it is answered 504; a request may ask for less with X-Deadline-Ms.",
    )
    predict_memory_bytes: int | None = Field(
        default=None,
        ge=0,
        description="Memory for models; beyond it those go that were used least recently, but for "
        "the one loaded last. By default a third of this machine's (or container's) memory, or "
        "60 % of the GPU's.",
    )
    decode_processes: int = Field(
        default_factory=lambda: min(8, os.cpu_count() or 1),
        ge=1,
        le=256,
        description="Images of predictions decoded at the same time, each in a process of its own; "
        "by default one a core, at most 8.",
    )
    decode_memory_bytes: int = Field(
        default=1 << 30,
        ge=64 << 20,
        description="Memory that decoding one image may take, in bytes of address space; the "
        "largest image of any format fits into the default.",
    )
    decode_seconds: float = Field(
        default=10.0, gt=0, le=600, description="How long decoding one image may take."
    )
    ingest_processes: int = Field(
        default=2, ge=1, le=64, description="Uploads that are checked at the same time."
    )
    ingest_memory_bytes: int = Field(
        default=2 << 30,
        ge=256 << 20,
        description="Memory that checking one upload may take, in bytes of address space.",
    )
    ingest_seconds: float = Field(
        default=3600.0, gt=0, le=86_400, description="How long checking one upload may take."
    )
    unpacked_bytes: int = Field(
        default=20 << 30,
        ge=1 << 20,
        description="Room in the data folder for unpacked data sets and logits, of which pictures, "
        "details of reports and comparisons are made; those not used for longest go first.",
    )
    min_free_bytes: int = Field(
        default=256 << 20,
        ge=0,
        description="Readiness fails when the data folder has less room than this, in bytes.",
    )
    drain_seconds: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="From a signal to stop, how long everything is still answered while readiness "
        "says no, so that a load balancer can go elsewhere.",
    )
    device: str = Field(
        default="auto", description="Device of predictions: `auto`, `cpu`, `cuda`, `cuda:1`, …"
    )
    webhook_allow: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Names, addresses and networks, comma separated, that webhooks may lead to "
        "although they are not public: on any port, and without TLS.",
    )
    webhook_ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of authorities that receivers of webhooks may have theirs "
        "from, besides the public ones.",
    )
    webhook_retry_seconds: Annotated[tuple[float, ...], NoDecode] = Field(
        default=(5.0, 30.0, 120.0, 600.0, 3600.0, 14_400.0, 43_200.0, 86_400.0),
        description="Waits before the second and each later attempt of a delivery, comma "
        "separated, each give or take a fifth; after the last one it is given up.",
    )
    webhook_timeout_seconds: float = Field(
        default=5.0, gt=0, le=60, description="Time of one attempt, from the name to the answer."
    )
    webhook_disable_seconds: float = Field(
        default=3 * 86_400.0,
        ge=0,
        description="How long all attempts must have failed before a webhook is disabled.",
    )
    webhook_poll_seconds: float = Field(
        default=1.0, gt=0, description="How often deliveries that are due are looked for."
    )

    @field_validator("allowed_hosts", "webhook_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("webhook_allow")
    @classmethod
    def _readable(cls, value: frozenset[str]) -> frozenset[str]:
        Allowed.of(value)
        return value

    @field_validator("webhook_retry_seconds", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("webhook_retry_seconds")
    @classmethod
    def _not_negative(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= seconds < float("inf") for seconds in value):
            raise ValueError("waits are at least 0")
        return value
