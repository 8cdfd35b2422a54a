"""Data sets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import Name, Time, View


class DatasetRequest(BaseModel):
    """A data set that need not be uploaded."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"source": "builtin:digits"}]}
    )

    source: Literal["builtin:digits", "folder"]
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="With `folder`: a folder beneath the server's `CAROT_DATASET_ROOT`.",
    )
    name: Name | None = None


class DatasetView(View):
    """A data set: what it holds and where it came from."""

    id: str
    name: str
    source: dict[str, Any]
    classes: list[str]
    splits: dict[str, dict[str, int]] = Field(description="Split to class to number of images.")
    images: int
    bytes: int
    warnings: list[str] = Field(default=[], description="What was left out, and why.")
    created_at: Time
    deleted_at: Time | None = Field(default=None, description="When its images were deleted.")
