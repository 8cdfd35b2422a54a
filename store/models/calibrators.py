"""Versions of checkpoints' calibrators. None is deleted, so that each answer can be explained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.errors import NotFound
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import Calibrator

RUN = "run"
RECALIBRATION = "recalibration"


def first_version(project: str, checkpoint_id: str, document: Mapping[str, Any]) -> Calibrator:
    """What a checkpoint's own job fitted, as a row."""
    return Calibrator(
        id=new_id("cal"),
        project_id=project,
        checkpoint_id=checkpoint_id,
        kind=str(document.get("kind", "temperature")),
        document=dict(document),
        origin=RUN,
        n=int(document.get("n", 0)),
        nll_before=document.get("nll_before"),
        nll_after=document.get("nll_after"),
    )


def add_version(
    session: Session,
    project: str,
    checkpoint_id: str,
    document: Mapping[str, Any],
    *,
    nll_before: float,
    nll_after: float,
    held_out: Mapping[str, Any],
) -> Calibrator:
    """A version that was fitted on labels given later.

    Args:
        document: the calibrator, as `Calibrator.to_json` writes it.
        nll_before, nll_after: on held-out labels, of what was served and of this version.
        held_out: what else was found on those.
    """
    row = Calibrator(
        id=new_id("cal"),
        project_id=project,
        checkpoint_id=checkpoint_id,
        kind=str(document["kind"]),
        document=dict(document),
        origin=RECALIBRATION,
        n=int(document["n"]),
        nll_before=nll_before,
        nll_after=nll_after,
        held_out=dict(held_out),
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def get_calibrator(session: Session, project: str, calibrator_id: str) -> Calibrator:
    """The version with this id.

    Raises:
        NotFound: the project has none.
    """
    query = select(Calibrator).where(
        Calibrator.id == calibrator_id, Calibrator.project_id == project
    )
    row = session.scalar(query)
    if row is None:
        raise NotFound("calibrator", calibrator_id)
    return row


def served_as(session: Session, project: str, checkpoint_id: str, calibrator_id: str) -> str | None:
    """How an alias names a version of its checkpoint's calibrator: None for the checkpoint's own.

    Raises:
        NotFound: the checkpoint has no such version.
    """
    row = get_calibrator(session, project, calibrator_id)
    if row.checkpoint_id != checkpoint_id:
        raise NotFound("calibrator", calibrator_id)
    return None if row.origin == RUN else row.id


def list_calibrators(
    session: Session,
    project: str,
    checkpoint_id: str,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Calibrator]:
    """Versions of a checkpoint's calibrator, newest first."""
    query = select(Calibrator).where(
        Calibrator.project_id == project, Calibrator.checkpoint_id == checkpoint_id
    )
    return fetch_page(session, query, Calibrator.id, cursor=cursor, limit=limit)
