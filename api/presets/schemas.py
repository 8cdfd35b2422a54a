"""Schemas of presets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class PresetView(BaseModel):
    """What `preset` in a fine-tuning job stands for; what the job says itself takes precedence."""

    name: str
    description: str
    source: str = Field(description="Where the constants come from.")
    method: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    filled: dict[str, Any] = Field(
        description="`method`, `training` and `selection` in full, as a job has them that says "
        "nothing besides this preset."
    )
