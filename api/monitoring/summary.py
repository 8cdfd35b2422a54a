"""Summary of an alias's calibration: live figures, reported figures, the test."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from api.models.targets import ModelTarget
from api.monitoring.live_calibration import delays_of, live
from api.monitoring.schemas import (
    AlertView,
    CalibrationView,
    OnlineCoverageView,
    ReportedView,
    TestView,
    WindowView,
)
from api.monitoring.state import MonitoringState
from carot.calibration.monitoring.e_process import ALPHA
from store.models.alerts import open_alert
from store.models.evidence import Served, coverages, standing
from store.predictions.log import Window, read_window
from store.reports.reports import in_distribution


def calibration_of(
    state: MonitoringState, target: ModelTarget, last: int, since: datetime | None
) -> CalibrationView:
    """Everything about what an alias points to.

    It is read in one transaction, and worked out when that has ended.
    """
    window = Window(*target[:4], last=last, since=since)
    with state.database.reading() as session:
        rows = read_window(session, window)
        reported = _reported(session, target.checkpoint_id)
        test = _test(session, target)
        online = coverages(session, Served(*target[:4]))
        alert = open_alert(session, target.project, target.alias)
        shown = None if alert is None else AlertView.model_validate(alert)
    reference = state.models.calibrators.evidence(target.checkpoint_id)
    return CalibrationView(
        model=target.alias,
        checkpoint_id=target.checkpoint_id,
        calibrator_id=target.calibrator_id,
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
        test=test.model_copy(update={"delays": delays_of(rows)}),
        online=[
            OnlineCoverageView(
                coverage=each.coverage,
                threshold=each.threshold,
                labels=each.labels,
                long_run=each.long_run,
                lately=each.lately,
            )
            for each in online
        ],
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


def _test(session: Session, target: ModelTarget) -> TestView:
    now = standing(session, Served(*target[:4]))
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
        delays=None,
    )
