"""Checkpoints: classifiers that jobs made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, tuple_
from sqlalchemy.orm import Session

from carot.warnings import CodedWarning
from store.errors import NotFound
from store.ids import new_id
from store.jobs.claims import Claim, check_fence
from store.models.calibrators import first_version
from store.pages import Page, fetch_page, has_in
from store.tables import Checkpoint

DELETED = select(Checkpoint.project_id, Checkpoint.id, Checkpoint.deleted_at).where(
    tuple_(Checkpoint.project_id, Checkpoint.id).in_(bindparam("names", expanding=True))
)
"""Asked with nearly every prediction, so it is made once."""


def create_checkpoint(
    session: Session,
    held: Claim,
    *,
    artifact_id: str,
    architecture: str,
    method: str,
    classes: Sequence[str],
    templates: Sequence[str],
    calibrator: Mapping[str, Any] | None,
    metrics: Mapping[str, Any],
    warnings: Sequence[CodedWarning] = (),
) -> Checkpoint:
    """A new checkpoint, made under a claim.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    check_fence(session, held)
    checkpoint = Checkpoint(
        id=new_id("ckpt"),
        project_id=held.project_id,
        job_id=held.job_id,
        artifact_id=artifact_id,
        name=held.name,
        architecture=architecture,
        method=method,
        classes=list(classes),
        templates=list(templates),
        calibrator=dict(calibrator) if calibrator is not None else None,
        metrics=dict(metrics),
        warnings=[each.model_dump(mode="json") for each in warnings],
    )
    session.add(checkpoint)
    session.flush()
    if calibrator is not None:
        session.add(first_version(held.project_id, checkpoint.id, calibrator))
        session.flush()
    return checkpoint


def get_checkpoint(session: Session, project: str, checkpoint_id: str) -> Checkpoint:
    """The checkpoint with this id.

    Raises:
        NotFound: the project has none.
    """
    query = select(Checkpoint).where(
        Checkpoint.id == checkpoint_id, Checkpoint.project_id == project
    )
    checkpoint = session.scalar(query)
    if checkpoint is None:
        raise NotFound("checkpoint", checkpoint_id)
    return checkpoint


def find_deleted(
    connection: Connection, names: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], bool]:
    """By project and id whether checkpoints were deleted; nothing of one that a project lacks."""
    rows = connection.execute(DELETED, {"names": list(names)})
    return {(row.project_id, row.id): row.deleted_at is not None for row in rows}


def find_checkpoint(session: Session, checkpoint_id: str) -> Checkpoint:
    """The checkpoint with this id, whose ever it is: for one that was looked up before.

    Raises:
        NotFound: there is none.
    """
    checkpoint = session.get(Checkpoint, checkpoint_id)
    if checkpoint is None:
        raise NotFound("checkpoint", checkpoint_id)
    return checkpoint


def list_checkpoints(
    session: Session,
    project: str,
    *,
    job_id: str | None = None,
    search: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Checkpoint]:
    """Checkpoints of a project that can be used, newest first.

    Args:
        search: somewhere in name, id, method or architecture, in whatever case.
    """
    query = select(Checkpoint).where(
        Checkpoint.project_id == project, Checkpoint.deleted_at.is_(None)
    )
    if job_id is not None:
        query = query.where(Checkpoint.job_id == job_id)
    if search:
        places = (Checkpoint.name, Checkpoint.id, Checkpoint.method, Checkpoint.architecture)
        query = query.where(has_in(search, *places))
    return fetch_page(session, query, Checkpoint.id, cursor=cursor, limit=limit)
