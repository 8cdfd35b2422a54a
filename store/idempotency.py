"""The same creating request twice makes one thing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import IdempotencyConflict, IdempotencyInFlight
from store.tables import IdempotencyRecord

ABANDONED_SECONDS = 30.0
"""A request without an answer for so long belonged to a process that died. It does nothing but
write a few rows; whoever takes longer says so to `begin`."""


def begin(
    session: Session,
    project: str,
    key: str,
    route: str,
    fingerprint: str,
    *,
    abandoned_seconds: float = ABANDONED_SECONDS,
) -> dict[str, Any] | None:
    """Take the key for a request of a project; the stored response when it was answered before.

    Raises:
        IdempotencyConflict: the key belongs to a request with another fingerprint.
        IdempotencyInFlight: the request is being answered at this moment.
    """
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    taken = session.scalar(
        dialect.insert(IdempotencyRecord)
        .values(
            project_id=project,
            key=key,
            route=route,
            fingerprint=fingerprint,
            created_at=database_now(),
        )
        .on_conflict_do_nothing()
        .returning(IdempotencyRecord.key)
    )
    if taken is not None:
        return None
    record = session.get(IdempotencyRecord, (project, key, route), populate_existing=True)
    if record is None or record.fingerprint != fingerprint:
        raise IdempotencyConflict("this Idempotency-Key was used for another request")
    if record.response is not None:
        return record.response
    again = session.scalar(
        update(IdempotencyRecord)
        .where(
            *_record(project, key, route),
            IdempotencyRecord.created_at < database_now(-abandoned_seconds),
        )
        .values(created_at=database_now())
        .returning(IdempotencyRecord.key)
    )
    if again is None:
        raise IdempotencyInFlight("the first request with this Idempotency-Key is being answered")
    return None


def finish(
    session: Session, project: str, key: str, route: str, response: Mapping[str, Any]
) -> None:
    """Keep the answer for whoever asks again."""
    session.execute(
        update(IdempotencyRecord)
        .where(*_record(project, key, route))
        .values(response=dict(response))
    )


def abandon(session: Session, project: str, key: str, route: str) -> None:
    """Free a key whose request made nothing."""
    session.execute(
        delete(IdempotencyRecord).where(
            *_record(project, key, route),
            IdempotencyRecord.response.is_(None),
        )
    )


def forget_old(session: Session, seconds: float) -> None:
    """Forget keys that were taken so long ago: whoever uses one again makes something new."""
    old = IdempotencyRecord.created_at < database_now(-seconds)
    session.execute(delete(IdempotencyRecord).where(old))


def _record(project: str, key: str, route: str) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyRecord.project_id == project,
        IdempotencyRecord.key == key,
        IdempotencyRecord.route == route,
    )
