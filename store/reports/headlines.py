"""The few numbers of a report that a list of jobs shows."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from cachetools import LRUCache
from sqlalchemy import select
from sqlalchemy.orm import Session

from store.tables import Checkpoint, Job, Report

MOST_KNOWN = 20_000
Headline = Mapping[str, float | None]


class Headlines:
    """Reads the headlines of jobs that have a report. A report never changes, so it is read once.

    A checkpoint holds the headlines of the report that its own job wrote; only where a job made no
    checkpoint is the whole document read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: LRUCache[str, Headline | None] = LRUCache(MOST_KNOWN)

    def read(self, session: Session, jobs: Sequence[Job]) -> dict[str, Headline | None]:
        """Accuracy and calibration error by job, of those that have a report."""
        reports = {job.id: job.report_id for job in jobs if job.report_id is not None}
        with self._lock:
            known = {key: self._known[key] for key in reports.values() if key in self._known}
        missing = [job for job in jobs if job.report_id and job.report_id not in known]
        if missing:
            found = _measured(session, missing)
            known |= found
            with self._lock:
                self._known.update(found)
        return {job: known[report] for job, report in reports.items()}


def _measured(session: Session, jobs: Sequence[Job]) -> dict[str, Headline | None]:
    wanted = [job.id for job in jobs]
    made = session.execute(
        select(Checkpoint.job_id, Checkpoint.metrics).where(Checkpoint.job_id.in_(wanted))
    )
    metrics: dict[str, Mapping[str, Any]] = {row.job_id: row.metrics for row in made}
    found: dict[str, Headline | None] = {}
    for job in jobs:
        assert job.report_id is not None
        document = metrics.get(job.id)
        if document is None:
            document = _of_report(session, job.report_id)
        found[job.report_id] = _headline(document)
    return found


def _of_report(session: Session, report_id: str) -> Mapping[str, Any]:
    document = session.scalar(select(Report.document).where(Report.id == report_id)) or {}
    row = next((row for row in document.get("datasets", ()) if row.get("in_distribution")), None)
    inside = None
    if row is not None:
        raw, calibrated = row["raw"], row.get("calibrated") or {}
        inside = {
            "accuracy": raw["accuracy"],
            "ece": raw["ece"],
            "calibrated_ece": calibrated.get("ece"),
        }
    return {"in_distribution": inside, "ood_mean": document.get("ood_mean")}


def _headline(metrics: Mapping[str, Any]) -> Headline | None:
    inside, outside = metrics.get("in_distribution") or {}, metrics.get("ood_mean") or {}
    found = {
        f"{prefix}_{name}": part.get(name)
        for prefix, part in (("id", inside), ("ood", outside))
        for name in ("accuracy", "ece", "calibrated_ece")
    }
    return found if any(value is not None for value in found.values()) else None
