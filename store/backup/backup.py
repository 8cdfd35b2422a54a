"""Writes a backup of every row and every artifact while the service runs.

The rows are those of one moment, copied into temporary files. Artifacts are then copied without
any transaction; a hold (`store.artifacts.holds`) keeps the bytes of those that are deleted
meanwhile. Bytes come first in the file, so that whoever restores has them all before the first row
is written.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from pydantic import BaseModel
from sqlalchemy import Connection, Table, func, select

from store.artifacts import ArtifactStore
from store.artifacts.base import Sum, checked, saying_no_space
from store.artifacts.holds import Hold, holding
from store.artifacts.rows import COMMITTED, PENDING
from store.backup.backup_file import (
    ARTIFACTS,
    FORMAT,
    MANIFEST,
    NOT_KEPT,
    PIECE,
    ROWS,
    Artifacts,
    Content,
    Manifest,
    Progress,
    member,
)
from store.backup.dumps import dump, reflect
from store.database import Database, revision_of
from store.errors import ArtifactError, BackupError
from store.tables import Artifact


class _Wanted(BaseModel):
    """Bytes to be copied, and one of the artifacts that they belong to."""

    id: str
    kind: str
    blob_key: str
    sha256: str
    size: int


def save_backup(
    database: Database, artifacts: ArtifactStore, path: Path, progress: Progress | None = None
) -> Manifest:
    """Write a backup to a file that is there once it is whole, and that only its owner may read.

    Raises:
        BackupError: there is no database, or it is not at the newest revision.
        ArtifactError: an artifact is missing or damaged, or the disk is full; nothing is left.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with saying_no_space("the backup"):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                manifest = write_backup(database, artifacts, file, progress)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return manifest


def write_backup(
    database: Database, artifacts: ArtifactStore, file: IO[bytes], progress: Progress | None = None
) -> Manifest:
    """Write a backup to a file or a pipe. See `save_backup` for what is raised."""
    _check_newest(database)
    done = 0
    with ExitStack() as stack:
        hold = stack.enter_context(holding(database))
        with saying_no_space("the rows of the backup, in the folder for temporary files"):
            manifest, wanted, spooled = _snapshot(database, stack)

        def write(name: str, size: int, pieces: Iterable[bytes]) -> None:
            nonlocal done
            for piece in member(name, size, pieces):
                file.write(piece)
                done += len(piece)
                if progress is not None:
                    progress(min(done, manifest.total), manifest.total)

        head = manifest.model_dump_json(indent=2).encode()
        write(MANIFEST, len(head), [head])
        done = 0
        for each in wanted:
            write(f"{ARTIFACTS}{each.sha256}", each.size, _bytes_of(artifacts, each, hold))
        for name, spool in spooled.items():
            spool.seek(0)
            rows = iter(lambda spool=spool: spool.read(PIECE), b"")  # type: ignore[misc]
            write(f"{ROWS}{name}.jsonl", manifest.tables[name].bytes, rows)
        file.write(bytes(2 * tarfile.BLOCKSIZE))
    return manifest


def _check_newest(database: Database) -> None:
    from store.schema import newest_revision

    found, newest = database.revision(), newest_revision()
    if found is None:
        raise BackupError("there is no database of this service; check CAROT_DATABASE_URL")
    if found != newest:
        raise BackupError(
            f"the database is at revision {found} and this release works with {newest}; "
            "back up with the release that the service runs, or upgrade first"
        )


def _snapshot(
    database: Database, stack: ExitStack
) -> tuple[Manifest, list[_Wanted], dict[str, IO[bytes]]]:
    """The rows of one moment, in temporary files, and the artifacts that belong to them."""
    tables: dict[str, Content] = {}
    spooled: dict[str, IO[bytes]] = {}
    with database.snapshot() as connection:
        moment, revision = datetime.now(UTC), revision_of(connection)
        wanted = _wanted(connection)
        for table in reflect(connection, NOT_KEPT).tables:
            spool = stack.enter_context(TemporaryFile())  # noqa: SIM115 - closed by the stack
            tables[table.name] = _spool(connection, table, spool)
            spooled[table.name] = spool
    total = sum(each.size for each in wanted)
    manifest = Manifest(
        format=FORMAT,
        version=_version(),
        revision=revision,
        created_at=moment,
        artifacts=Artifacts(count=len(wanted), bytes=total),
        tables=tables,
    )
    return manifest, wanted, spooled


def _wanted(connection: Connection) -> list[_Wanted]:
    query = (
        select(
            func.min(Artifact.id).label("id"),
            func.min(Artifact.kind).label("kind"),
            func.min(Artifact.blob_key).label("blob_key"),
            Artifact.sha256,
            func.max(Artifact.size).label("size"),
        )
        .where(Artifact.state == COMMITTED)
        .group_by(Artifact.sha256)
        .order_by(func.min(Artifact.id))
    )
    return [_Wanted.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def _spool(connection: Connection, table: Table, spool: IO[bytes]) -> Content:
    # What is still on its way has no bytes to be copied yet.
    is_artifacts = table.name == Artifact.__tablename__
    only = table.c.state != PENDING if is_artifacts else None
    seen, rows = Sum(), 0
    for line in dump(connection, table, only):
        spool.write(line)
        seen.add(line)
        rows += 1
    spool.flush()
    return Content(rows=rows, bytes=seen.size, sha256=seen.sha256)


def _bytes_of(artifacts: ArtifactStore, wanted: _Wanted, hold: Hold) -> Iterator[bytes]:
    try:
        pieces = artifacts.open(wanted.blob_key)
        for piece in checked(pieces, wanted.blob_key, wanted.sha256, wanted.size, whole=True):
            hold.extend()
            yield piece
    except ArtifactError as error:
        raise type(error)(f"{wanted.kind} {wanted.id} cannot be copied: {error}") from error


def _version() -> str:
    try:
        return version("carot")
    except PackageNotFoundError:
        return "0"
