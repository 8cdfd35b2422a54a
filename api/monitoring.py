"""What is known of an alias's confidences: from labels, from before them, and from the test."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from api.context import Context
from api.live import live
from api.recorder import Pointing
from api.schemas.monitoring import (
    AlertView,
    CalibrationView,
    ReportedView,
    TestView,
    WindowView,
)
from carot.calibration.e_process import ALPHA
from store.alerts import open_alert
from store.evidence import Served, standing
from store.predictions import Window, read_window
from store.reports import in_distribution


def calibration_of(
    context: Context, pointing: Pointing, last: int, since: datetime | None
) -> CalibrationView:
    """Everything about what an alias points to.

    It is read in one transaction, and worked out when that has ended.
    """
    window = Window(*pointing[:4], last=last, since=since)
    with context.database.reading() as session:
        rows = read_window(session, window)
        reported = _reported(session, pointing.checkpoint_id)
        test = _test(session, pointing)
        alert = open_alert(session, pointing.project, pointing.alias)
        shown = None if alert is None else AlertView.model_validate(alert)
    reference = context.versions.references.get(pointing.checkpoint_id)
    return CalibrationView(
        model=pointing.alias,
        checkpoint_id=pointing.checkpoint_id,
        calibrator_id=pointing.calibrator_id,
        window=WindowView(
            last=last,
            since=since,
            first_at=rows[0].created_at if rows else None,
            last_at=rows[-1].created_at if rows else None,
            predictions=len(rows),
            labels=sum(row.truth is not None for row in rows),
        ),
        live=live(rows, reference),
        reported=reported,
        test=test,
        alert=shown,
    )


def _reported(session: Session, checkpoint_id: str) -> ReportedView | None:
    row = in_distribution(session, checkpoint_id)
    if row is None:
        return None
    calibrated = row["calibrated"] is not None
    figures = row["calibrated"] if calibrated else row["raw"]
    curve = row.get("reliability_calibrated" if calibrated else "reliability_raw")
    return ReportedView(
        dataset=row.get("name", ""),
        images=figures.get("images", 0),
        accuracy=figures["accuracy"],
        ece=figures["ece"],
        mean_confidence=figures["mean_confidence"],
        calibrated=calibrated,
        reliability=curve or [],
    )


def _test(session: Session, pointing: Pointing) -> TestView:
    now = standing(session, Served(*pointing[:4]))
    return TestView(
        evidence=now.evidence,
        peak=now.peak,
        threshold=1 / ALPHA,
        alpha=ALPHA,
        rejected=now.rejected_at is not None,
        rejected_at=now.rejected_at,
        labels=now.labels,
        finding=now.finding,
        begun_at=now.begun_at,
    )
