"""Artifacts in a store, for tests of what becomes of them."""

from __future__ import annotations

from store.artifacts import ArtifactStore
from store.artifacts.rows import Stored, commit, store_pending
from store.database import Database, database_now
from store.jobs.claims import Claim, set_snapshot
from store.tables import Artifact


def whole(store: ArtifactStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(store.open(key, start, end))


def put(
    database: Database,
    blobs: ArtifactStore,
    data: bytes = b"bytes",
    kind: str = "checkpoint",
    held: Claim | None = None,
) -> Stored:
    """Stored and waiting to be committed."""
    return store_pending(database, blobs, [data], kind, held=held)


def committed(
    database: Database, blobs: ArtifactStore, data: bytes = b"bytes", kind: str = "checkpoint"
) -> str:
    """The id of an artifact that nothing refers to yet."""
    stored = put(database, blobs, data, kind)
    with database.session() as session:
        commit(session, blobs, stored)
    return stored.artifact_id


def snapshot(database: Database, blobs: ArtifactStore, held: Claim, data: bytes) -> Stored:
    """The newest snapshot of a job."""
    stored = put(database, blobs, data, "snapshot", held)
    with database.session() as session:
        commit(session, blobs, stored, held)
        set_snapshot(session, held, stored.artifact_id, 1)
    return stored


def age(database: Database, artifact_id: str, seconds: float = 100_000) -> None:
    """Make an artifact older than the day that uploads have."""
    with database.session() as session:
        session.get_one(Artifact, artifact_id).created_at = database_now(-seconds)
