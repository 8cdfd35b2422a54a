"""What only the API reads, on top of what both processes read."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from store.settings import Settings


class ApiSettings(Settings):
    """Settings of the API process, from `CAROT_*` variables."""

    allowed_hosts: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="Names, comma separated, that requests may call this server by, besides those "
        "of the loopback interface and `host`.",
    )
    insecure: bool = Field(
        default=False,
        description="Answer anybody under any name. There are no keys: whoever reaches the port "
        "may do everything.",
    )
    max_body_bytes: int = Field(
        default=64 << 20,
        ge=1024,
        description="Largest request body, in bytes, of everything but uploads.",
    )
    max_image_bytes: int = Field(
        default=20 << 20, ge=1024, description="Largest encoded image of a prediction, in bytes."
    )
    max_images: int = Field(default=64, ge=1, description="Most images in one prediction request.")
    predict_batch: int = Field(default=64, ge=1, description="Most images in one model pass.")
    predict_wait_seconds: float = Field(
        default=0.003, ge=0, description="How long a batch waits for company."
    )
    predict_queue: int = Field(
        default=512, ge=1, description="Images that may wait for a model; more are answered 503."
    )
    predict_models: int = Field(default=3, ge=1, description="Checkpoints kept in memory.")
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
    device: str = Field(
        default="auto", description="Device of predictions: `auto`, `cpu`, `cuda`, `cuda:1`, …"
    )
    log_level: str = Field(default="INFO", description="Least severe level that is logged.")

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return frozenset(part.strip().lower() for part in value.split(",") if part.strip())
        return value
