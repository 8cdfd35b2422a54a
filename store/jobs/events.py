"""Events of jobs, and the metrics of their runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.tables import JobEvent, JobMetric

EXTREMES_FROM = 8
"""Points of a thinned curve from which on it keeps what is lowest and highest."""
Curve = list[tuple[int, float | None]]
"""Steps and values, in the order of the steps."""


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
) -> dict[str, Curve]:
    """Curves by name, thinned to at most `resolution` points; spikes stay from 8 points on."""
    query = select(JobMetric.name, JobMetric.step, JobMetric.value).where(
        JobMetric.job_id == job_id
    )
    if names is not None:
        query = query.where(JobMetric.name.in_(names))
    curves: dict[str, Curve] = {}
    for name, step, value in session.execute(query.order_by(JobMetric.name, JobMetric.step)):
        curves.setdefault(name, []).append((step, value))
    if resolution is not None:
        curves = {name: _thinned(points, resolution) for name, points in curves.items()}
    return curves


def _thinned(points: Curve, resolution: int) -> Curve:
    if len(points) <= resolution:
        return points
    last = len(points) - 1
    if resolution < 2:
        return points[last:]
    if resolution < EXTREMES_FROM:
        return [points[round(i * last / (resolution - 1))] for i in range(resolution)]
    # Both ends, and of each of equal stretches between them the lowest and the highest point:
    # a spike that lasted one step is still there.
    stretches = (resolution - 2) // 2
    ends = [1 + i * (last - 1) // stretches for i in range(stretches + 1)]
    inner = (_extremes(points[start:stop]) for start, stop in pairwise(ends))
    return [points[0], *chain.from_iterable(inner), points[last]]


def _extremes(points: Curve) -> Curve:
    known = [(value, step) for step, value in points if value is not None]
    if not known:
        return points[:1]
    found = {step: value for value, step in (min(known), max(known))}
    return sorted(found.items())
