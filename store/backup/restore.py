"""From a backup to a service: bytes first, then every row in one transaction, or none.

What is killed before that transaction ends leaves pending artifacts, which the garbage step of the
service, or the next try, takes away.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, Any

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, select, text, true
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from store.artifacts import ArtifactStore
from store.artifacts.base import DAY_SECONDS, Sum, checked, saying_no_space
from store.artifacts.folder import is_temporary
from store.artifacts.rows import COMMITTED, PENDING, Stored, discard, store_pending
from store.backup.backup_file import (
    ARTIFACTS,
    MANIFEST,
    NOT_KEPT,
    ROWS,
    Archive,
    Content,
    Manifest,
    Progress,
)
from store.backup.dumps import Loader, Schema, reflect
from store.database import Database
from store.errors import ArtifactCorrupt, ArtifactMissing, BackupDamaged, CannotRestore
from store.jobs.claims import Claim, mark_cancelled, mark_paused, release
from store.jobs.states import HELD, JobState
from store.tables import DEFAULT_PROJECT, Artifact, Job, Project

RESTORED = "restored"
"""Kind of the rows that wait for the others."""
LOCK = 0x72657374
log = logging.getLogger(__name__)


def read_backup(
    database: Database, artifacts: ArtifactStore, file: IO[bytes], progress: Progress | None = None
) -> Manifest:
    """Fill an empty database, and its artifact store, with a backup; then upgrade it.

    Jobs that a worker had wait in the queue again, and lose no attempt.

    Args:
        file: is read once, from front to end, so it may be a pipe.

    Raises:
        CannotRestore: the database is not empty, or at a revision that is not the backup's.
        BackupDamaged: names the member that is missing or not what was written.
        NoSpace: there is no room for the artifacts.
    """
    archive = Archive(file, progress)
    manifest = archive.manifest()
    _prepare(database, manifest)
    _clear(database, artifacts)
    _check_unused(artifacts)
    stored: dict[str, Stored] = {}
    try:
        for name, pieces in archive.artifacts():
            content = checked(pieces, name, name, archive.size, whole=True)
            stored[name] = store_pending(database, artifacts, content, RESTORED)
        if len(stored) != manifest.artifacts.count:
            found = f"{len(stored)} artifacts instead of {manifest.artifacts.count}"
            raise BackupDamaged(f"it ends, or is damaged, behind {archive.place}: {found}")
        with database.session() as session:
            _load(session.connection(), archive, manifest, stored)
            if manifest.revision == _newest():
                _give_back(session)
    except ArtifactCorrupt as error:
        _clear(database, artifacts)
        raise BackupDamaged(f"{archive.place} is not what was written: {error}") from error
    except BaseException:
        with suppress(SQLAlchemyError):  # the database is away: the service's garbage step does it
            _clear(database, artifacts)
        raise
    if manifest.revision != _newest():
        database.upgrade()
        with database.session() as session:
            _give_back(session)
    return manifest


def _prepare(database: Database, manifest: Manifest) -> None:
    from store.schema import revisions

    if manifest.revision not in revisions():
        raise CannotRestore(
            f"the backup is of revision {manifest.revision}, which this release does not know; "
            f"restore with release {manifest.version} or a later one"
        )
    found = database.revision()
    if found is None:
        database.upgrade(manifest.revision)
    elif found != manifest.revision:
        raise CannotRestore(
            f"the database is at revision {found} and the backup of {manifest.revision}; "
            "restore into a new database, which is then upgraded"
        )
    with database.snapshot() as connection:
        _check_empty(connection, reflect(connection, NOT_KEPT))


def _check_empty(connection: Connection, schema: Schema) -> None:
    """Nothing but what the migrations made, and what a try before this one left."""

    def foreign(table: Table) -> ColumnElement[bool]:
        match table.name:
            case Project.__tablename__:
                return table.c.id != DEFAULT_PROJECT
            case Artifact.__tablename__:
                return table.c.state != PENDING
            case _:
                return true()

    queries = {
        table.name: exists().select_from(table).where(foreign(table)) for table in schema.tables
    }
    full = [name for name, query in queries.items() if connection.scalar(select(query))]
    if full:
        raise CannotRestore(
            f"the database is not empty, see {', '.join(full)}; restore into a new one"
        )


def _check_unused(artifacts: ArtifactStore) -> None:
    """Bytes that are there belong to another database, and each deletes what it does not know."""
    others = [name for name in artifacts.abandoned(-DAY_SECONDS) if not is_temporary(name)]
    if others:
        raise CannotRestore(
            f"the artifact store is not empty: it has {len(others)} blobs that are not this "
            "database's; restore into a new one (CAROT_ARTIFACTS_URL)"
        )


def _load(
    connection: Connection, archive: Archive, manifest: Manifest, stored: dict[str, Stored]
) -> None:
    if connection.dialect.name == "postgresql":  # two at once: the second finds it full
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    schema = reflect(connection, NOT_KEPT)
    _check_empty(connection, schema)
    _take(connection, schema, stored)
    loader = Loader(connection, schema)
    tables = {table.name: table for table in schema.tables}
    if set(tables) != set(manifest.tables):
        raise BackupDamaged(f"{MANIFEST} does not name the tables of revision {manifest.revision}")
    for name, content in manifest.tables.items():
        with TemporaryFile() as spool:
            _check_rows(archive, name, content, spool)
            lines: Iterator[dict[str, Any]] = map(json.loads, spool)
            if name == Artifact.__tablename__:
                lines = (_placed(line, stored) for line in lines)
            loader.load(tables[name], lines)
    loader.finish()
    for table in schema.tables:
        loader.count_on(table)


def _take(connection: Connection, schema: Schema, stored: dict[str, Stored]) -> None:
    """The rows that waited go, and what the migrations made: the backup has its own."""
    tables: dict[str, Table] = {table.name: table for table in schema.tables}
    waiting = tables[Artifact.__tablename__]
    gone = delete(waiting).where(waiting.c.kind == RESTORED).returning(waiting.c.id)
    taken = set(connection.scalars(gone))
    if not taken >= {each.artifact_id for each in stored.values()}:
        raise ArtifactMissing("somebody deleted what was stored; restore again")
    if Project.__tablename__ in tables:
        connection.execute(delete(tables[Project.__tablename__]))


def _placed(line: dict[str, Any], stored: dict[str, Stored]) -> dict[str, Any]:
    """An artifact's line, with the place where its bytes are now."""
    if line["state"] != COMMITTED:
        return line | {"blob_key": None}
    if line["sha256"] not in stored:
        raise BackupDamaged(f"{ARTIFACTS}{line['sha256']} is missing")
    return line | {"blob_key": stored[line["sha256"]].blob.key}


def _check_rows(archive: Archive, name: str, content: Content, spool: IO[bytes]) -> None:
    """Copy the lines of a table to a temporary file, and use none unless all are as written."""
    seen = Sum()
    with saying_no_space("the rows of the backup, in the folder for temporary files"):
        for piece in archive.rows(name):
            spool.write(piece)
            seen.add(piece)
        spool.seek(0)
    if (seen.size, seen.sha256) != (content.bytes, content.sha256):
        raise BackupDamaged(f"{ROWS}{name}.jsonl is not what was written")


def _clear(database: Database, artifacts: ArtifactStore) -> None:
    """Delete the bytes that no row refers to."""
    with database.reading() as session:
        waiting = select(Artifact.id).where(Artifact.kind == RESTORED, Artifact.state == PENDING)
        ids = session.scalars(waiting).all()
    for artifact_id in ids:
        discard(database, artifacts, artifact_id)


def _give_back(session: Session) -> None:
    """No worker has these jobs any more."""
    for job in session.scalars(select(Job).where(Job.state.in_(HELD))).all():
        held = Claim(
            job_id=job.id,
            project_id=job.project_id,
            fence=job.fence,
            attempt=job.attempts,
            worker=job.worker or "",
            kind=job.kind,
            spec=job.spec,
        )
        match job.state:
            case JobState.CANCELLING:
                mark_cancelled(session, held)
            case JobState.PAUSING:
                mark_paused(session, held)
            case _:
                release(session, held)
        log.info("%s: given back, as it was %s when it was backed up", job.id, job.state)


def _newest() -> str:
    from store.schema import newest_revision

    return newest_revision()
