"""What happened to a job, and the curves of its run."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.tables import JobEvent, JobMetric


def list_events(
    session: Session, job_id: str, *, after_seq: int = 0, limit: int = 100
) -> list[JobEvent]:
    """Events behind `after_seq`, in order."""
    query = (
        select(JobEvent)
        .where(JobEvent.job_id == job_id, JobEvent.seq > after_seq)
        .order_by(JobEvent.seq)
        .limit(limit)
    )
    return list(session.scalars(query))


def list_metrics(
    session: Session,
    job_id: str,
    *,
    names: Sequence[str] | None = None,
    resolution: int | None = None,
) -> dict[str, list[tuple[int, float | None]]]:
    """Curves by name, as (step, value), evenly thinned to at most `resolution` points."""
    query = select(JobMetric.name, JobMetric.step, JobMetric.value).where(
        JobMetric.job_id == job_id
    )
    if names is not None:
        query = query.where(JobMetric.name.in_(names))
    curves: dict[str, list[tuple[int, float | None]]] = {}
    for name, step, value in session.execute(query.order_by(JobMetric.name, JobMetric.step)):
        curves.setdefault(name, []).append((step, value))
    if resolution is not None:
        curves = {name: _thinned(points, resolution) for name, points in curves.items()}
    return curves


def _thinned(
    points: list[tuple[int, float | None]], resolution: int
) -> list[tuple[int, float | None]]:
    if len(points) <= resolution:
        return points
    last = len(points) - 1
    if resolution < 2:
        return points[last:]
    return [points[round(i * last / (resolution - 1))] for i in range(resolution)]
