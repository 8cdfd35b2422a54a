"""Schemas of checkpoints and aliases."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from api.web.schemas import Time, View
from carot.warnings import CodedWarning

Alias = Annotated[
    str,
    Field(
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="A name that requests use; it can be moved to another checkpoint.",
        examples=["digits-production"],
    ),
]


class CheckpointView(View):
    """A trained, evaluated and calibrated classifier."""

    id: str
    job_id: str
    name: str | None
    architecture: str
    method: str
    classes: list[str]
    templates: list[str]
    calibrator: dict[str, Any] | None = Field(
        description="The one that is served: its kind and parameters, and what it was fitted on; "
        "null where confidences are raw. The others that were fitted are in the report."
    )
    metrics: dict[str, Any] = Field(description="Headline figures of its report.")
    warnings: list[CodedWarning] = Field(description="What its run warned of.")
    bytes: int | None = Field(default=None, description="Size of the download.")
    sha256: str | None = Field(default=None, description="Hash of the download.")
    created_at: Time
    deleted_at: Time | None = Field(default=None, description="When its weights were deleted.")


class LoggingRequest(BaseModel):
    """What shall be remembered of an alias's predictions; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"log_rate": 0.1}]})

    log_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="The share of predictions that are logged, chosen at random; at first all.",
    )
    log_images: bool | None = Field(
        default=None, description="Whether their images are kept with them; at first they are not."
    )


class AliasRequest(LoggingRequest):
    """Where an alias shall point."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"checkpoint": "ckpt_01jd3v8m9x2k4q6r8t0v2w4y6z"}]},
    )

    checkpoint: str = Field(max_length=100, description="A checkpoint's id.")
    calibrator: str | None = Field(
        default=None,
        max_length=100,
        description="A version of its calibrator, by id; without one, the checkpoint's own.",
    )


class AliasView(BaseModel):
    """An alias and what it points to."""

    alias: str
    checkpoint_id: str
    calibrator_id: str | None = Field(
        description="A version of the checkpoint's calibrator; null: its own."
    )
    log_rate: float = Field(description="The share of predictions that are logged.")
    log_images: bool = Field(description="Whether their images are kept with them.")
    updated_at: Time


class AliasChangeView(View):
    """Where an alias pointed from a moment on."""

    id: str
    checkpoint_id: str | None = Field(description="Null: the alias was deleted then.")
    calibrator_id: str | None = Field(description="Null: the checkpoint's own.")
    created_at: Time
