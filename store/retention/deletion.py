"""Deletes checkpoints and data sets: their bytes go, their rows stay, marked.

So reports, and jobs that have ended, keep saying what they were about.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.artifacts import ArtifactStore
from store.artifacts.rows import delete_bytes, give_up
from store.database import Database, database_now
from store.errors import Conflict, Gone
from store.jobs.references import named_in
from store.jobs.states import TERMINAL
from store.tables import Checkpoint, Dataset, Job, ModelAlias

Deletable = Checkpoint | Dataset


def check_there(row: Deletable) -> None:
    """Refuse what was deleted.

    Raises:
        Gone: it was.
    """
    if row.deleted_at is not None:
        raise Gone(_kind(row), row.id)


def keep_there(session: Session, row: Deletable) -> None:
    """Lock it against deletion until this transaction ends, which creates something that needs it.

    Raises:
        Gone: it was deleted already.
    """
    session.refresh(row, with_for_update={"read": True, "of": type(row)})
    check_there(row)


def delete(session: Session, row: Deletable) -> str | None:
    """Mark a checkpoint or a data set as deleted; one that was stays as it is.

    Returns:
        The artifact whose bytes `finish` deletes once this transaction has ended.

    Raises:
        Conflict: an alias points to it, or a job that has not ended names it.
    """
    session.refresh(row, with_for_update={"of": type(row)})
    if row.deleted_at is not None:
        return None
    if isinstance(row, Checkpoint):
        alias = session.scalar(select(ModelAlias.name).filter_by(checkpoint_id=row.id).limit(1))
        if alias is not None:
            raise Conflict(f"the alias {alias!r} points to {row.id}; move or remove it first")
    for job_id, state, names in unfinished(session, row.project_id):
        if row.id in names:
            raise Conflict(f"{job_id} names {row.id} and is {state}; cancel it or let it end first")
    row.deleted_at = database_now()
    artifact = row.artifact
    if artifact is not None:
        give_up(session, artifact)
    session.flush()
    session.refresh(row)
    return None if artifact is None else artifact.id


def finish(database: Database, artifacts: ArtifactStore, artifact_id: str | None) -> None:
    """Delete the bytes of what `delete` marked; a sweep does it when this process dies before."""
    if artifact_id is not None:
        delete_bytes(database, artifacts, artifact_id)


def unfinished(session: Session, project: str) -> Iterator[tuple[str, str, set[str]]]:
    """Jobs that may still run: id, state, and what each names."""
    query = select(Job.id, Job.state, Job.spec).where(
        Job.project_id == project, Job.state.not_in(TERMINAL)
    )
    for job_id, state, spec in session.execute(query):
        yield job_id, state, named_in(spec)


def _kind(row: Deletable) -> str:
    return "checkpoint" if isinstance(row, Checkpoint) else "dataset"
