"""Rows of artifacts: pending while their bytes are on the way, committed with what they belong to.

    begin ─► pending ─► ArtifactStore.put ─► commit (in the transaction that lists it)
                └─► never committed: `collect_garbage` takes it away after a day

Back ends that keep equal bytes once share a blob between rows. A blob is therefore deleted only
under a lock of its key, which `commit` takes too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from store.artifacts.base import DAY_SECONDS, ArtifactStore, Blob, Readable
from store.claims import Claim, check_fence
from store.database import Database, database_now
from store.errors import ArtifactMissing, NotFound
from store.ids import new_id
from store.states import TERMINAL
from store.tables import Artifact, Job

PENDING = "pending"
COMMITTED = "committed"
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
    _lock(session, blob.key)
    row = session.get(Artifact, stored.artifact_id)
    if row is None or row.state != PENDING:
        raise ArtifactMissing(f"{stored.artifact_id} is not waiting to be committed")
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
    """
    with database.session() as session:
        row = begin(session, kind, held=held, media_type=media_type, name=name)
        artifact_id = row.id
    try:
        return Stored(artifact_id, artifacts.put(content))
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


def discard(database: Database, artifacts: ArtifactStore, artifact_id: str) -> None:
    """Delete a row that nothing refers to, and its bytes when no other row has them."""
    with database.session() as session:
        key = session.scalar(
            delete(Artifact).where(Artifact.id == artifact_id).returning(Artifact.blob_key)
        )
        if key is None:  # it never had bytes, or somebody else deleted it
            return
        _lock(session, key)
        free = not _is_used(session, key)
        if free and artifacts.shares:
            artifacts.delete(key)  # while the lock keeps others from sharing it
    if free and not artifacts.shares:
        artifacts.delete(key)  # after the commit: it may need a transaction of its own


def drop_pending(database: Database, artifacts: ArtifactStore, stored: Stored) -> None:
    """Delete what was stored but will not be committed."""
    with database.session() as session:
        row = session.get(Artifact, stored.artifact_id)
        if row is None or row.state != PENDING:
            return  # it was committed after all
        row.blob_key = stored.blob.key
    discard(database, artifacts, stored.artifact_id)


def collect_garbage(
    database: Database, artifacts: ArtifactStore, older_than_seconds: float = DAY_SECONDS
) -> int:
    """Delete what nobody will ask for: lost uploads, snapshots of jobs that have ended.

    Returns:
        How many rows and blobs were deleted.
    """
    with database.session() as session:
        session.execute(
            update(Job)
            .where(Job.state.in_(TERMINAL), Job.snapshot_artifact_id.is_not(None))
            .values(snapshot_artifact_id=None)
        )
    with database.reading() as session:
        needed = select(Job.snapshot_artifact_id).where(Job.snapshot_artifact_id.is_not(None))
        old = (Artifact.state == PENDING) & (
            Artifact.created_at < database_now(-older_than_seconds)
        )
        unneeded = (
            (Artifact.state == COMMITTED) & (Artifact.kind == SNAPSHOT) & Artifact.id.not_in(needed)
        )
        ids = session.scalars(select(Artifact.id).where(old | unneeded)).all()
    for artifact_id in ids:
        discard(database, artifacts, artifact_id)
    names = artifacts.abandoned(older_than_seconds)
    return len(ids) + sum(_delete_unless_used(database, artifacts, name) for name in names)


def _delete_unless_used(database: Database, artifacts: ArtifactStore, name: str) -> bool:
    with database.session() as session:
        _lock(session, name)
        if _is_used(session, name):
            return False
        if artifacts.shares:
            artifacts.delete(name)
    if not artifacts.shares:
        artifacts.delete(name)
    return True


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
