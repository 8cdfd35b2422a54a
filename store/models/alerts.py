"""Alerts: a test rejected that an alias's confidences are true. Open until its target changes."""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from store.database import database_now
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import CalibrationAlert
from store.webhooks.webhooks import announce_alert


def raise_alert(
    session: Session,
    project: str,
    alias: str,
    checkpoint_id: str,
    calibrator_id: str | None,
    *,
    evidence: float,
    alpha: float,
    labels: int,
    finding: str | None,
) -> CalibrationAlert:
    """Create an alert and queue it for every webhook that receives alerts, in this transaction.

    Args:
        evidence: the e-value, at least 1 / alpha.
        labels: how many the test had seen.
        finding: in words, what is wrong.
    """
    row = CalibrationAlert(
        id=new_id("alert"),
        project_id=project,
        alias=alias,
        checkpoint_id=checkpoint_id,
        calibrator_id=calibrator_id,
        evidence=evidence,
        alpha=alpha,
        labels=labels,
        finding=finding,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    announce_alert(session, row)
    return row


def resolve_alerts(session: Session, project: str, alias: str) -> None:
    """Resolve the alerts of an alias whose target has changed, or that was deleted."""
    session.execute(
        update(CalibrationAlert)
        .where(
            CalibrationAlert.project_id == project,
            CalibrationAlert.alias == alias,
            CalibrationAlert.resolved_at.is_(None),
        )
        .values(resolved_at=database_now())
        .execution_options(synchronize_session=False)
    )


def open_alert(session: Session, project: str, alias: str) -> CalibrationAlert | None:
    """The alert of an alias that was not resolved, if there is one."""
    query = select(CalibrationAlert).where(
        CalibrationAlert.project_id == project,
        CalibrationAlert.alias == alias,
        CalibrationAlert.resolved_at.is_(None),
    )
    return session.scalars(query.order_by(CalibrationAlert.id.desc()).limit(1)).one_or_none()


def list_alerts(
    session: Session, project: str, alias: str, *, cursor: str | None = None, limit: int = 50
) -> Page[CalibrationAlert]:
    """Alerts of an alias, newest first."""
    query = select(CalibrationAlert).where(
        CalibrationAlert.project_id == project, CalibrationAlert.alias == alias
    )
    return fetch_page(session, query, CalibrationAlert.id, cursor=cursor, limit=limit)
