"""The file of a `predict` job: an artifact of the job's own, listed when the job succeeds."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.artifacts.rows import COMMITTED, PENDING, give_up
from store.errors import Gone, NotFound
from store.jobs.jobs import get_job
from store.tables import Artifact

PREDICTIONS = "predictions"


def get_predictions(session: Session, project: str, job_id: str) -> Artifact:
    """What a job predicted.

    Raises:
        NotFound: the project has no such job, or the job no predictions (yet).
        Gone: they were deleted.
    """
    get_job(session, project, job_id)
    row = session.scalar(
        select(Artifact)
        .where(Artifact.job_id == job_id, Artifact.kind == PREDICTIONS)
        .where(Artifact.state != PENDING)
        .order_by(Artifact.id.desc())
        .limit(1)
    )
    if row is None:
        raise NotFound(PREDICTIONS, job_id)
    if row.state != COMMITTED:
        raise Gone(PREDICTIONS, job_id)
    return row


def delete_predictions(session: Session, project: str, job_id: str) -> str:
    """Give up what a job predicted; the job stays.

    Returns:
        The artifact whose bytes `store.retention.deletion.finish` deletes once this transaction has
        ended.

    Raises:
        NotFound: as for `get_predictions`.
    """
    row = get_predictions(session, project, job_id)
    give_up(session, row)
    return row.id
