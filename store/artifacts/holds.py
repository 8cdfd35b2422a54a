"""Holds: while somebody copies artifacts, no bytes that a committed row lists are deleted.

Rows may go meanwhile; whoever deletes bytes asks `is_held` first and, if so, leaves them for a
later sweep. A hold that is not extended expires, so that a copy that was killed holds up nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from store.database import Database, database_now
from store.errors import Conflict
from store.ids import new_id
from store.tables import BlobHold

HOLD_SECONDS = 600.0
EXTEND_SECONDS = 60.0
LOCK = 0x686F6C64
"""Postgres advisory lock: shared by those who delete, alone for those who begin to hold."""


class Hold:
    """A hold that is in force while it is extended."""

    def __init__(self, database: Database, id: str) -> None:
        self._database = database
        self._id = id
        self._extended = time.monotonic()

    def extend(self, *, now: bool = False) -> None:
        """Keep it in force; cheap enough to be called for every piece that is copied.

        Raises:
            Conflict: it has expired, so bytes may have been deleted since.
        """
        if not now and time.monotonic() - self._extended < EXTEND_SECONDS:
            return
        in_force = BlobHold.id == self._id, BlobHold.expires_at > database_now()
        with self._database.session() as session:
            longer = update(BlobHold).where(*in_force).values(expires_at=database_now(HOLD_SECONDS))
            if session.scalar(longer.returning(BlobHold.id)) is None:
                raise Conflict("the copy stood still for too long; begin again")
        self._extended = time.monotonic()


@contextmanager
def holding(database: Database) -> Iterator[Hold]:
    """No bytes of committed artifacts are deleted in the block."""
    with database.session() as session:
        # Waits for deletions under way; later ones see the row.
        _lock(session, "pg_advisory_xact_lock")
        row = BlobHold(id=new_id("hold"), expires_at=database_now(HOLD_SECONDS))
        session.add(row)
        session.flush()
        hold = Hold(database, row.id)
    try:
        yield hold
    finally:
        with database.session() as session:
            session.execute(delete(BlobHold).where(BlobHold.id == row.id))


def is_held(session: Session) -> bool:
    """Whether bytes must stay; no hold begins before this transaction ends."""
    _lock(session, "pg_advisory_xact_lock_shared")
    in_force = select(BlobHold.id).where(BlobHold.expires_at > database_now()).limit(1)
    return session.scalar(in_force) is not None


def forget_expired(session: Session) -> None:
    """Delete what copies left that were killed."""
    session.execute(delete(BlobHold).where(BlobHold.expires_at < database_now()))


def _lock(session: Session, function: str) -> None:
    # On SQLite a writing transaction is alone anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"SELECT {function}(:key)"), {"key": LOCK})
