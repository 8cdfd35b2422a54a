"""The prediction log: written in batches, shown, read in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session
from ulid import ULID

from store.errors import NotFound
from store.pages import Page, fetch_page
from store.tables import Artifact, Checkpoint, Label, Prediction

MAX_LOGITS = 1024
"""Classes up to which logits are stored, 4 KiB at most: with fewer of them no calibrator can be
fitted exactly, as the sum over the others depends on its parameters."""
MAX_WINDOW = 100_000


@dataclass(frozen=True)
class Window:
    """Which predictions of an alias are looked at: the last so many of those since a moment.

    Attributes:
        checkpoint_id, calibrator_id: what answered; a calibrator of None is the checkpoint's own.
    """

    project: str
    alias: str
    checkpoint_id: str
    calibrator_id: str | None
    last: int
    since: datetime | None = None


def insert_predictions(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write many at once; each row has all columns of the table."""
    session.execute(insert(Prediction), list(rows))


def get_prediction(session: Session, project: str, prediction_id: str) -> Prediction:
    """The prediction with this id.

    Raises:
        NotFound: the project has none: it was not logged, or was removed since.
    """
    query = select(Prediction).where(
        Prediction.id == prediction_id, Prediction.project_id == project
    )
    row = session.scalar(query)
    if row is None:
        raise NotFound("prediction", prediction_id)
    return row


def list_predictions(
    session: Session,
    project: str,
    *,
    alias: str | None = None,
    labelled: bool | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[Prediction]:
    """Predictions of a project, newest first."""
    query = select(Prediction).where(Prediction.project_id == project)
    if alias is not None:
        query = query.where(Prediction.alias == alias)
    if labelled is not None:
        has_label = select(Label).where(Label.prediction_id == Prediction.id).exists()
        query = query.where(has_label if labelled else ~has_label)
    return fetch_page(session, query, Prediction.id, cursor=cursor, limit=limit)


def class_names(session: Session, checkpoint_ids: Sequence[str]) -> dict[str, list[str]]:
    """Class names of checkpoints, by id."""
    query = select(Checkpoint.id, Checkpoint.classes).where(Checkpoint.id.in_(set(checkpoint_ids)))
    return dict(session.execute(query).all())


def read_window(session: Session, window: Window, *, labelled: bool = False) -> list[Any]:
    """Rows in the order of time: what was said, and which class was told to be true when, or None.

    Args:
        labelled: whether only those with a label count.
    """
    columns = (
        Prediction.id,
        Prediction.created_at,
        Prediction.class_index,
        Prediction.confidence,
        Prediction.raw_confidence,
        Prediction.shift,
        Prediction.log_rate,
        Label.class_index.label("truth"),
        Label.given_at,
    )
    query = select(*columns).join(Label, Label.prediction_id == Prediction.id, isouter=not labelled)
    calibrator = _is(window.calibrator_id)
    return _newest(session, query.where(calibrator), window)


def read_labelled(session: Session, window: Window) -> list[Any]:
    """Logits and true classes in the order of time, of any calibrator: they come before it."""
    query = (
        select(Prediction.id, Prediction.logits, Label.class_index.label("truth"))
        .join(Label, Label.prediction_id == Prediction.id)
        .where(Prediction.logits.is_not(None))
    )
    return _newest(session, query, window)


def drop_predictions(session: Session, before: datetime, limit: int = 5000) -> int:
    """Remove predictions that are older, with their labels; their images are given up.

    Returns:
        How many were removed; `limit` says that there may be more.
    """
    # Ids begin with their time, so that no other index is needed.
    earliest = f"pred_{str(ULID.from_datetime(before)).lower()[:10]}"
    query = select(Prediction.id, Prediction.image_artifact_id).where(Prediction.id < earliest)
    # One that is being labelled stays for the next time.
    query = query.order_by(Prediction.id).limit(limit).with_for_update(skip_locked=True)
    old = session.execute(query).all()
    ids = [row.id for row in old]
    images = [row.image_artifact_id for row in old if row.image_artifact_id is not None]
    return _remove(session, ids, images)


def _remove(session: Session, ids: Sequence[str], images: Sequence[str]) -> int:
    quietly = {"synchronize_session": False}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        for table, column in ((Label, Label.prediction_id), (Prediction, Prediction.id)):
            session.execute(delete(table).where(column.in_(some)).execution_options(**quietly))
    for start in range(0, len(images), 500):
        some = images[start : start + 500]
        session.execute(update(Artifact).where(Artifact.id.in_(some)).values(state="deleted"))
    return len(ids)


def _newest(session: Session, query: Any, window: Window) -> list[Any]:
    mine = (
        Prediction.project_id == window.project,
        Prediction.alias == window.alias,
        Prediction.checkpoint_id == window.checkpoint_id,
    )
    query = query.where(*mine)
    if window.since is not None:
        query = query.where(Prediction.created_at >= window.since)
    rows = session.execute(query.order_by(Prediction.id.desc()).limit(window.last)).all()
    return list(reversed(rows))


def _is(calibrator_id: str | None) -> ColumnElement[bool]:
    column = Prediction.calibrator_id
    return column.is_(None) if calibrator_id is None else column == calibrator_id
