"""Models whose answers were labelled, with what the tests of their confidences say."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session

from store.models.evidence import Served, Standing, standing_of
from store.monitoring.statistics import MAX_MODELS
from store.tables import OWN, CalibrationAlert, Evidence, ModelAlias


@dataclass(frozen=True)
class WatchedModel:
    """An alias whose answers were labelled since it moved there, and what the test says of them.

    Attributes:
        alerted: whether an alert is open.
    """

    served: Served
    standing: Standing
    alerted: bool


def watched(session: Session) -> list[WatchedModel]:
    """The aliases that have evidence, no more than `MAX_MODELS`, those that moved last."""
    here = and_(
        Evidence.project_id == ModelAlias.project_id,
        Evidence.alias == ModelAlias.name,
        Evidence.checkpoint_id == ModelAlias.checkpoint_id,
        Evidence.calibrator == func.coalesce(ModelAlias.calibrator_id, OWN),
        Evidence.state.is_not(None),
    )
    open_alert = exists().where(
        CalibrationAlert.project_id == ModelAlias.project_id,
        CalibrationAlert.alias == ModelAlias.name,
        CalibrationAlert.resolved_at.is_(None),
    )
    rows = session.execute(
        select(ModelAlias, Evidence, open_alert)
        .join(Evidence, here)
        .order_by(ModelAlias.updated_at.desc(), ModelAlias.project_id, ModelAlias.name)
        .limit(MAX_MODELS)
    )
    return [
        WatchedModel(
            Served(alias.project_id, alias.name, alias.checkpoint_id, alias.calibrator_id),
            standing_of(evidence),
            alerted,
        )
        for alias, evidence, alerted in rows
    ]
