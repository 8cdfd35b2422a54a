"""Idempotency: a creating request that is repeated creates one thing.

The key is taken in the transaction that makes the thing, and the answer kept there: a process that
dies in between leaves neither. Of two requests at once, the second waits for the first one's
transaction, and finds its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import IdempotencyConflict
from store.tables import IdempotencyRecord


def look(
    session: Session, project: str, key: str, route: str, fingerprint: str
) -> dict[str, Any] | None:
    """The response of a request of a project that was answered before.

    Raises:
        IdempotencyConflict: the key belongs to a request with another fingerprint.
    """
    record = session.get(IdempotencyRecord, (project, key, route), populate_existing=True)
    if record is None:
        return None
    if record.fingerprint != fingerprint:
        raise IdempotencyConflict("this Idempotency-Key was used for another request")
    return record.response


def take(
    session: Session, project: str, key: str, route: str, fingerprint: str
) -> dict[str, Any] | None:
    """Take the key for the transaction; the stored response when the request was answered before.

    Raises:
        IdempotencyConflict: the key belongs to a request with another fingerprint.
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
    return None if taken is not None else look(session, project, key, route, fingerprint)


def keep(session: Session, project: str, key: str, route: str, response: Mapping[str, Any]) -> None:
    """Store the answer for repeated requests."""
    session.execute(
        update(IdempotencyRecord)
        .where(
            IdempotencyRecord.project_id == project,
            IdempotencyRecord.key == key,
            IdempotencyRecord.route == route,
        )
        .values(response=dict(response))
    )


def forget_old(session: Session, seconds: float) -> None:
    """Delete old keys; a request that uses one again creates something new."""
    old = IdempotencyRecord.created_at < database_now(-seconds)
    session.execute(delete(IdempotencyRecord).where(old))
