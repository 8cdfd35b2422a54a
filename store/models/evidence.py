"""Evidence against calibrators: one e-process for each that an alias points to, fed by labels.

A label is seen once, in the transaction that stores it, with the row of the e-process locked:
any number of processes may take labels at once. Rows of aliases are taken before those of
e-processes, lest two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from carot.calibration.monitoring.e_process import ALPHA, EProcess
from carot.calibration.monitoring.online_coverage import OnlineCoverage
from store.database import database_now
from store.models.alerts import raise_alert, resolve_alerts
from store.models.coverage import coverages_of
from store.tables import OWN, Evidence, ModelAlias, Prediction

REFERENCE = 1000
"""Predictions whose confidences say, before the first label, where the thirds of them lie."""


@dataclass(frozen=True)
class Served:
    """What an alias's answers came from. A calibrator of None is the checkpoint's own."""

    project: str
    alias: str
    checkpoint_id: str
    calibrator_id: str | None


@dataclass(frozen=True)
class Standing:
    """The result of a test: the e-value now and at its largest, the labels seen, since when.

    `finding` says in words what earned the evidence; `rejected_at` is when it first was at least
    1 / `ALPHA`, None if it never was.
    """

    evidence: float
    peak: float
    labels: int
    finding: str | None
    begun_at: datetime | None
    rejected_at: datetime | None


def hold(session: Session, served: Set[Served]) -> dict[Served, Evidence]:
    """The rows of these, made where there are none, and this transaction's until it ends."""
    for project, alias in sorted({(who.project, who.alias) for who in served}):
        mine = ModelAlias.project_id == project, ModelAlias.name == alias
        session.execute(select(ModelAlias.name).where(*mine).with_for_update(read=True))
    return {who: _held(session, who) for who in sorted(served, key=_key)}


def weigh(session: Session, who: Served, row: Evidence, seen: Sequence[tuple[float, bool]]) -> None:
    """Let the test see labels, in the order in which they were given; alert when it rejects.

    Args:
        row: what `hold` gave.
        seen: for each label the confidence of the answer, and whether it was right.
    """
    process = _process(row) or EProcess.fresh(read_confidences(session, who, REFERENCE))
    process = process.update([c for c, _ in seen], [right for _, right in seen])
    row.state = process.model_dump(mode="json")
    if row.rejected_at is None and process.rejects(ALPHA):
        row.rejected_at = session.scalars(select(database_now())).one()
        if _points(session, who):
            raise_alert(
                session,
                who.project,
                who.alias,
                who.checkpoint_id,
                who.calibrator_id,
                evidence=process.peak,
                alpha=ALPHA,
                labels=process.labels,
                finding=None if process.suspect is None else process.suspect.words,
            )
    session.flush()


def standing(session: Session, who: Served) -> Standing:
    """The result of the test at this moment."""
    row = session.get(Evidence, _key(who), populate_existing=True)
    return Standing(1.0, 1.0, 0, None, None, None) if row is None else standing_of(row)


def coverages(session: Session, who: Served) -> tuple[OnlineCoverage, ...]:
    """How the thresholds that follow labels stand at this moment."""
    return coverages_of(session.get(Evidence, _key(who), populate_existing=True))


def standing_of(row: Evidence) -> Standing:
    """The result of the test in a row."""
    process = _process(row) or EProcess.fresh()
    return Standing(
        process.evidence,
        process.peak,
        process.labels,
        None if process.suspect is None else process.suspect.words,
        row.begun_at,
        row.rejected_at,
    )


def read_confidences(session: Session, who: Served, last: int) -> list[float]:
    """Of the newest predictions from there, with a label or without."""
    calibrator = Prediction.calibrator_id
    query = select(Prediction.confidence).where(
        Prediction.project_id == who.project,
        Prediction.alias == who.alias,
        Prediction.checkpoint_id == who.checkpoint_id,
        calibrator.is_(None) if who.calibrator_id is None else calibrator == who.calibrator_id,
    )
    return list(session.scalars(query.order_by(Prediction.id.desc()).limit(last)))


def begin_again(session: Session, project: str, alias: str) -> None:
    """Start the test again: the target of the alias has changed, or it was deleted."""
    resolve_alerts(session, project, alias)
    session.execute(delete(Evidence).where(Evidence.project_id == project, Evidence.alias == alias))


def _process(row: Evidence) -> EProcess | None:
    """The state of the test; None before its first label."""
    return None if row.state is None else EProcess.model_validate(row.state)


def _points(session: Session, who: Served) -> bool:
    """Whether the alias, which `hold` keeps where it is, points there."""
    alias = session.get(ModelAlias, (who.project, who.alias), populate_existing=True)
    if alias is None:
        return False
    return (alias.checkpoint_id, alias.calibrator_id) == (who.checkpoint_id, who.calibrator_id)


def _held(session: Session, who: Served) -> Evidence:
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    project, alias, checkpoint_id, calibrator = _key(who)
    session.execute(
        dialect.insert(Evidence)
        .values(
            project_id=project,
            alias=alias,
            checkpoint_id=checkpoint_id,
            calibrator=calibrator,
            begun_at=database_now(),
        )
        # Writing what is there takes the row, as finding it would not while somebody deletes it.
        .on_conflict_do_update(
            index_elements=["project_id", "alias", "checkpoint_id", "calibrator"],
            set_={"calibrator": calibrator},
        )
    )
    return session.get_one(Evidence, _key(who), populate_existing=True)


def _key(who: Served) -> tuple[str, str, str, str]:
    return who.project, who.alias, who.checkpoint_id, who.calibrator_id or OWN
