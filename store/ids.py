"""Ids: a prefix that says what it is, and a ULID that sorts by time."""

from __future__ import annotations

from ulid import ULID


def new_id(prefix: str) -> str:
    """`new_id("job")` is `job_` and 26 characters of 0-9 and a-z; later ids sort behind."""
    return f"{prefix}_{str(ULID()).lower()}"
