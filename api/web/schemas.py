"""Schemas that several subjects share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


def _no_number(value: object) -> object:
    """Seconds since 1970, or milliseconds? The document says `date-time`."""
    if isinstance(value, str) and "-" not in value.strip().lstrip("-"):
        raise ValueError("give a date and time as in 2026-01-31T12:00:00Z")
    return value


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


Time = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]

# Text that any database stores and any terminal shows.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
PLAIN = r"^[^\x00-\x1f\x7f]*$"
Limit = Annotated[int, Query(ge=1, le=200, description="Most items in the answer.")]
Cursor = Annotated[
    str | None,
    Query(max_length=500, description="`next_cursor` of the page before, opaque."),
]


class View(BaseModel):
    """Read from a row."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    """Part of a list; the rest lies behind `next_cursor`."""

    data: list[T]
    next_cursor: str | None = None
