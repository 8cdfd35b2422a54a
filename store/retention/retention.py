"""Deletes by age: uploads, snapshots, predictions and checkpoints that nothing needs.

The garbage step of every sweeper; any number may run at once.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from store.access.idempotency import forget_old
from store.artifacts import ArtifactStore
from store.artifacts.base import DAY_SECONDS
from store.artifacts.holds import forget_expired
from store.artifacts.rows import (
    COMMITTED,
    DELETED,
    PENDING,
    SNAPSHOT,
    delete_bytes,
    delete_unlisted,
    discard,
)
from store.database import Database, database_now
from store.errors import Conflict
from store.jobs.states import HELD, TERMINAL, JobState
from store.jobs.workers import forget_workers
from store.predictions.log import drop_predictions
from store.retention.deletion import delete, finish, unfinished
from store.settings import Settings
from store.tables import Artifact, Checkpoint, Job, ModelAlias

log = logging.getLogger(__name__)
Metrics = Mapping[str, Any]


def tidy(database: Database, artifacts: ArtifactStore, settings: Settings) -> None:
    """Everything that is due."""
    with database.session() as session:
        forget_old(session, DAY_SECONDS)
        forget_expired(session)
        forget_workers(session, DAY_SECONDS)
    forget_predictions(database, settings.keep_prediction_days)
    if settings.keep_checkpoints is not None:
        drop_checkpoints(database, artifacts, settings.keep_checkpoints)
    collect_garbage(database, artifacts, snapshot_days=settings.keep_snapshot_days)


def forget_predictions(database: Database, days: float) -> int:
    """Delete older predictions in small batches, so that other writers do not wait for long.

    Returns:
        How many were removed.
    """
    removed = 0
    while True:
        with database.session() as session:
            now = session.scalars(select(database_now(-days * DAY_SECONDS))).one()
            some = drop_predictions(session, now)
        removed += some
        if some == 0:
            return removed


def collect_garbage(
    database: Database,
    artifacts: ArtifactStore,
    *,
    older_than_seconds: float = DAY_SECONDS,
    snapshot_days: float = 7.0,
) -> int:
    """Delete bytes and rows that nothing refers to any more.

    Args:
        older_than_seconds: how long an upload without an attempt, or bytes without a row, may take
            to be committed. What belongs to an attempt goes as soon as that is over.
        snapshot_days: how long a job that failed or was cancelled can go on from its snapshot.

    Returns:
        How many rows and blobs were deleted.
    """
    with database.session() as session:
        _drop_snapshots(session, snapshot_days * DAY_SECONDS)
    with database.reading() as session:
        lost = session.scalars(select(Artifact.id).where(_is_lost(older_than_seconds))).all()
        given_up = session.scalars(
            select(Artifact.id).where(Artifact.state == DELETED, Artifact.blob_key.is_not(None))
        ).all()
    done = [discard(database, artifacts, artifact_id) for artifact_id in lost]
    done += [delete_bytes(database, artifacts, artifact_id) for artifact_id in given_up]
    names = artifacts.abandoned(older_than_seconds)
    return sum(done) + sum(delete_unlisted(database, artifacts, name) for name in names)


def _drop_snapshots(session: Session, seconds: float) -> None:
    unneeded = or_(
        Job.state == JobState.SUCCEEDED,
        and_(Job.state.in_(TERMINAL), Job.finished_at < database_now(-seconds)),
    )
    session.execute(
        update(Job)
        .where(unneeded, Job.snapshot_artifact_id.is_not(None))
        .values(snapshot_artifact_id=None, snapshot_step=None)
    )


def _is_lost(seconds: float) -> ColumnElement[bool]:
    theirs = and_(Job.id == Artifact.job_id, Job.fence == Artifact.fence, Job.state.in_(HELD))
    over = and_(Artifact.job_id.is_not(None), ~exists().where(theirs))
    old = Artifact.created_at < database_now(-seconds)
    listed = exists().where(Job.snapshot_artifact_id == Artifact.id)
    return or_(
        and_(Artifact.state == PENDING, or_(old, over)),
        and_(Artifact.state == COMMITTED, Artifact.kind == SNAPSHOT, ~listed),
    )


def drop_checkpoints(database: Database, artifacts: ArtifactStore, keep: int) -> list[str]:
    """Delete checkpoints that are among the best of nothing.

    Of each project and data set stay the `keep` newest, the `keep` most accurate in distribution,
    the `keep` best calibrated there, and whatever an alias points to or an unfinished job names.

    Returns:
        Ids of those that were deleted.
    """
    with database.reading() as session:
        rows = session.execute(
            select(Checkpoint.id, Checkpoint.project_id, Job.dataset, Checkpoint.metrics)
            .join(Job, Job.id == Checkpoint.job_id)
            .where(Checkpoint.deleted_at.is_(None))
        ).all()
        needed = set(session.scalars(select(ModelAlias.checkpoint_id)))
        for project in {row.project_id for row in rows}:
            needed.update(*(names for _, _, names in unfinished(session, project)))
    groups: dict[tuple[str, str], dict[str, Metrics]] = defaultdict(dict)
    for row in rows:
        groups[row.project_id, row.dataset][row.id] = row.metrics
    doomed = {id for group in groups.values() for id in surplus(group, keep)} - needed
    return [id for id in sorted(doomed) if _drop(database, artifacts, id)]


def surplus(group: Mapping[str, Metrics], keep: int) -> set[str]:
    """Checkpoints, by id, that are neither among the newest nor among the best.

    Ids sort by time. One without a figure is not among the best by that figure.
    """
    newest = sorted(group, reverse=True)[:keep]
    accurate = _best(group, keep, lambda figures: _negative(figures.get("accuracy")))
    calibrated = _best(group, keep, _calibration_error)
    return set(group) - {*newest, *accurate, *calibrated}


def _best(
    group: Mapping[str, Metrics], keep: int, cost: Callable[[Metrics], float | None]
) -> Iterable[str]:
    costs = {id: cost(metrics.get("in_distribution") or {}) for id, metrics in group.items()}
    known = [(value, id) for id, value in costs.items() if value is not None]
    return [id for value, id in sorted(known) if math.isfinite(value)][:keep]


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _calibration_error(figures: Metrics) -> float | None:
    """That of what is served: after calibration, where there was one."""
    calibrated = figures.get("calibrated_ece")
    return figures.get("ece") if calibrated is None else calibrated


def _drop(database: Database, artifacts: ArtifactStore, checkpoint_id: str) -> bool:
    try:
        with database.session() as session:
            row = session.get_one(Checkpoint, checkpoint_id)
            there = row.deleted_at is None
            artifact_id = delete(session, row)
    except Conflict as error:  # somebody began to need it
        log.info("%s", error)
        return False
    finish(database, artifacts, artifact_id)
    if there:
        log.info("%s: deleted, as better and newer ones are kept", checkpoint_id)
    return there
