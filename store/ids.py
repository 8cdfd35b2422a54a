"""Ids: a prefix that says what it is, and a ULID that sorts by time."""

from __future__ import annotations

import time

from ulid import ULID


def new_id(prefix: str) -> str:
    """`new_id("job")` is `job_` and 26 characters of 0-9 and a-z; later ids sort behind."""
    return f"{prefix}_{str(ULID()).lower()}"


def age_seconds(identity: str) -> float:
    """How long ago an id was made, by the clock of whoever made it; below 0 where that is ahead.

    Infinite for one that `new_id` never makes.
    """
    try:
        return time.time() - ULID.from_str(identity.partition("_")[2].upper()).timestamp
    except ValueError:
        return float("inf")
