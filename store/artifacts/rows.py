"""Rows of artifacts: pending while their bytes are on the way, committed with what they belong to.

    begin ─► pending ─► ArtifactStore.put ─► committed (in the transaction that lists it)
                │                                │
                └─► never committed:             └─► give_up ─► deleted ─► delete_bytes
                    `store.retention.retention`

A pending row notes the key of its blob, or the name that the key will begin with, before the blob
can be found. Back ends that keep equal bytes once share a blob between rows: it is deleted only
under a lock of its key, which those who note it take too, and while no row has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from store.artifacts.base import ArtifactStore, Blob, Readable, Reserve
from store.artifacts.holds import is_held
from store.database import Database
from store.errors import ArtifactMissing, NotFound
from store.ids import new_id
from store.jobs.claims import Claim, check_fence
from store.tables import Artifact

PENDING = "pending"
COMMITTED = "committed"
DELETED = "deleted"
SNAPSHOT = "snapshot"


@dataclass(frozen=True)
class Stored:
    """Bytes in the store and the pending row that waits for them."""

    artifact_id: str
    blob: Blob


def begin(
    session: Session,
    kind: str,
    *,
    held: Claim | None = None,
    media_type: str = "application/x-tar",
    name: str | None = None,
) -> Artifact:
    """A pending row, made before the first byte is stored."""
    row = Artifact(
        id=new_id("art"),
        kind=kind,
        state=PENDING,
        name=name,
        media_type=media_type,
        job_id=None if held is None else held.job_id,
        fence=None if held is None else held.fence,
    )
    session.add(row)
    session.flush()
    return row


def commit(
    session: Session, artifacts: ArtifactStore, stored: Stored, held: Claim | None = None
) -> Artifact:
    """Make a pending row a committed one, in the transaction that lists what it is for.

    Raises:
        StaleFence: the job is no longer this worker's.
        ArtifactMissing: the row, or a shared blob, was deleted meanwhile; store it again.
    """
    if held is not None:
        check_fence(session, held)
    blob = stored.blob
    row = _pending(session, stored.artifact_id)
    _lock(session, blob.key)
    if artifacts.shares and not artifacts.exists(blob.key):
        raise ArtifactMissing(f"the bytes of {stored.artifact_id} were deleted meanwhile")
    row.state = COMMITTED
    row.blob_key, row.sha256, row.size = blob.key, blob.sha256, blob.size
    session.flush()
    return row


def store_pending(
    database: Database,
    artifacts: ArtifactStore,
    content: Iterable[bytes] | Readable,
    kind: str,
    *,
    held: Claim | None = None,
    media_type: str = "application/x-tar",
    name: str | None = None,
) -> Stored:
    """Store bytes under a pending row, to be committed by the caller.

    Raises:
        NoSpace: there is no room; nothing is left behind.
        ArtifactMissing: the row was taken away, as its attempt is over.
    """
    with database.session() as session:
        row = begin(session, kind, held=held, media_type=media_type, name=name)
        artifact_id = row.id
    try:
        return Stored(artifact_id, artifacts.put(content, _reserving(database, artifact_id)))
    except BaseException:
        discard(database, artifacts, artifact_id)
        raise


def get_artifact(session: Session, artifact_id: str) -> Artifact:
    """The committed artifact with this id.

    Raises:
        NotFound: there is none.
    """
    row = session.get(Artifact, artifact_id)
    if row is None or row.state != COMMITTED:
        raise NotFound("artifact", artifact_id)
    return row


def discard(database: Database, artifacts: ArtifactStore, artifact_id: str) -> bool:
    """Delete a row that nothing refers to, and its bytes when no other row has them.

    Returns:
        Whether there was one. A committed one stays for a later sweep while bytes are held.
    """
    with database.session() as session:
        row = session.get(Artifact, artifact_id, with_for_update=True)
        if row is None or (row.state == COMMITTED and is_held(session)):
            return False
        session.delete(row)
        session.flush()
        later = _forget_unless_used(session, artifacts, row.blob_key)
    _forget(artifacts, later)
    return True


def drop_pending(database: Database, artifacts: ArtifactStore, stored: Stored) -> None:
    """Delete what was stored but will not be committed."""
    with database.reading() as session:
        row = session.get(Artifact, stored.artifact_id)
        if row is None or row.state != PENDING:
            return  # it was committed after all
    discard(database, artifacts, stored.artifact_id)


def give_up(session: Session, row: Artifact) -> None:
    """Mark an artifact as deleted in this transaction; `delete_bytes` frees the space later."""
    row.state = DELETED
    session.flush()


def delete_bytes(database: Database, artifacts: ArtifactStore, artifact_id: str) -> bool:
    """Delete the bytes of an artifact that was given up, when no other row has them.

    Returns:
        Whether its row let go of them; not while bytes are held, then a later sweep does it.
    """
    with database.session() as session:
        row = session.get(Artifact, artifact_id, with_for_update=True)
        if row is None or row.state != DELETED or row.blob_key is None or is_held(session):
            return False
        key, row.blob_key = row.blob_key, None
        session.flush()
        later = _forget_unless_used(session, artifacts, key)
    _forget(artifacts, later)
    return True


def delete_unlisted(database: Database, artifacts: ArtifactStore, name: str) -> bool:
    """Delete a blob that no row has."""
    with database.session() as session:
        _lock(session, name)
        if _is_used(session, name):
            return False
        if artifacts.shares:
            artifacts.delete(name)
    if not artifacts.shares:
        artifacts.delete(name)
    return True


def _reserving(database: Database, artifact_id: str) -> Reserve:
    def reserve(key: str) -> None:
        with database.session() as session:
            row = _pending(session, artifact_id)
            _lock(session, key)
            row.blob_key = key

    return reserve


def _pending(session: Session, artifact_id: str) -> Artifact:
    """The row, for this transaction. Rows are taken before keys, lest two wait for each other."""
    row = session.get(Artifact, artifact_id, with_for_update=True)
    if row is None or row.state != PENDING:
        raise ArtifactMissing(f"{artifact_id} is not waiting to be committed")
    return row


def _forget_unless_used(session: Session, artifacts: ArtifactStore, key: str | None) -> str | None:
    """Delete bytes that no row has; the key when that is to be done after this transaction.

    What can be shared goes while the lock keeps others from sharing it; the rest later, since
    deleting it may need a transaction of its own.
    """
    if key is None:
        return None
    _lock(session, key)
    if _is_used(session, key):
        return None
    if not artifacts.shares:
        return key
    artifacts.delete(key)
    return None


def _forget(artifacts: ArtifactStore, key: str | None) -> None:
    if key is not None:
        artifacts.delete(key)


def _is_used(session: Session, key: str) -> bool:
    # A sealed key begins with the name that its store knows the blob by.
    same = (Artifact.blob_key == key) | Artifact.blob_key.startswith(f"{key}.", autoescape=True)
    return session.scalar(select(Artifact.id).where(same).limit(1)) is not None


def _lock(session: Session, key: str) -> None:
    # On SQLite a writing transaction is alone anyway.
    if session.get_bind().dialect.name == "postgresql":
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key}
        )
