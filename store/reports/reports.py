"""Reports: what jobs measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.errors import NotFound
from store.ids import new_id
from store.jobs.claims import Claim, check_fence
from store.pages import Page, fetch_page
from store.tables import Checkpoint, Report


def create_report(
    session: Session,
    held: Claim,
    *,
    checkpoint_id: str | None,
    document: Mapping[str, Any],
    logits_artifact_id: str | None = None,
) -> Report:
    """A new report, made under a claim.

    Raises:
        StaleFence: the job is no longer this worker's.
    """
    check_fence(session, held)
    report = Report(
        id=new_id("rep"),
        project_id=held.project_id,
        job_id=held.job_id,
        checkpoint_id=checkpoint_id,
        logits_artifact_id=logits_artifact_id,
        document=dict(document),
    )
    session.add(report)
    session.flush()
    return report


def get_report(session: Session, project: str, report_id: str) -> Report:
    """The report with this id.

    Raises:
        NotFound: the project has none.
    """
    query = select(Report).where(Report.id == report_id, Report.project_id == project)
    report = session.scalar(query)
    if report is None:
        raise NotFound("report", report_id)
    return report


def in_distribution(session: Session, checkpoint_id: str) -> dict[str, Any] | None:
    """What the report of a checkpoint's own job says of the data set like those it was made of."""
    document = session.scalar(
        select(Report.document)
        .join(Checkpoint, Checkpoint.job_id == Report.job_id)
        .where(Checkpoint.id == checkpoint_id)
        .order_by(Report.id.desc())
        .limit(1)
    )
    rows: list[dict[str, Any]] = (document or {}).get("datasets", [])
    return next((row for row in rows if row["in_distribution"]), None)


def list_reports(
    session: Session,
    project: str,
    *,
    job_id: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Report]:
    """Reports of a project, newest first."""
    query = select(Report).where(Report.project_id == project)
    if job_id is not None:
        query = query.where(Report.job_id == job_id)
    return fetch_page(session, query, Report.id, cursor=cursor, limit=limit)


def newest_with_logits(session: Session, project: str, checkpoint_id: str) -> str | None:
    """Id of the newest report of a checkpoint that has its logits; None without one."""
    query = (
        select(Report.id)
        .where(
            Report.project_id == project,
            Report.checkpoint_id == checkpoint_id,
            Report.logits_artifact_id.is_not(None),
        )
        .order_by(Report.id.desc())
        .limit(1)
    )
    return session.scalar(query)
