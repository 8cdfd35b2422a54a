"""Thresholds of prediction sets that follow labels, one for each coverage in `COVERAGES`.

They move in the transaction that stores a label, in the row that the e-process of the calibrator
has, which is locked: any number of processes may take labels at once, each counts once, and another
that takes its place changes nothing. When the alias moves they begin anew with that row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from carot.calibration.monitoring.online_coverage import OnlineCoverage, label_score
from carot.errors import CalibrationError
from store.tables import Evidence, Prediction

COVERAGES = (0.9, 0.95)
PIECE = 500


def follow(session: Session, row: Evidence, labels: Mapping[str, int]) -> None:
    """Let the thresholds see labels, in the order in which they were given.

    A prediction whose logits are not stored, or not finite, moves nothing.

    Args:
        row: what `store.models.evidence.hold` gave.
        labels: class indices by the ids of predictions.
    """
    found = _scores(session, labels)
    scores = [found[id] for id in labels if id in found]
    if scores:
        levels = [each.update(scores).model_dump(mode="json") for each in coverages_of(row)]
        row.coverage = {"levels": levels}


def coverages_of(row: Evidence | None) -> tuple[OnlineCoverage, ...]:
    """How they stand; before the first label at 0, where sets are the top class alone."""
    if row is None or row.coverage is None:
        return tuple(OnlineCoverage.fresh(coverage) for coverage in COVERAGES)
    return tuple(OnlineCoverage.model_validate(each) for each in row.coverage["levels"])


def _scores(session: Session, labels: Mapping[str, int]) -> dict[str, float]:
    scores: dict[str, float] = {}
    ids: Sequence[str] = list(labels)
    for start in range(0, len(ids), PIECE):
        query = select(Prediction.id, Prediction.logits).where(
            Prediction.id.in_(ids[start : start + PIECE]), Prediction.logits.is_not(None)
        )
        for id, logits in session.execute(query):
            assert logits is not None  # as the query says
            try:
                values = np.frombuffer(logits, dtype="<f4").astype(np.float64).tolist()
                scores[id] = label_score(values, labels[id])
            except CalibrationError:
                continue
    return scores
