"""Evidence against calibrators: one e-process for each that an alias points to, fed by labels.

A label is seen once, in the transaction that stores it, with the row of the e-process locked:
any number of processes may take labels at once. Rows of aliases are taken before those of
e-processes, lest two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from store.alerts import resolve_alerts
from store.database import database_now
from store.tables import OWN, Evidence, ModelAlias


@dataclass(frozen=True, order=True)
class Served:
    """What an alias's answers came from. A calibrator of None is the checkpoint's own."""

    project: str
    alias: str
    checkpoint_id: str
    calibrator_id: str | None


def hold(session: Session, served: Set[Served]) -> dict[Served, Evidence]:
    """The rows of these, made where there are none, and this transaction's until it ends."""
    for project, alias in sorted({(who.project, who.alias) for who in served}):
        mine = ModelAlias.project_id == project, ModelAlias.name == alias
        session.execute(select(ModelAlias.name).where(*mine).with_for_update(read=True))
    return {who: _held(session, who) for who in sorted(served, key=_key)}


def weigh(session: Session, row: Evidence, seen: Sequence[tuple[float, bool]]) -> None:
    """Let the test see labels, in the order in which they were given."""


def begin_anew(session: Session, project: str, alias: str) -> None:
    """An alias moved, or went: what was gathered, and what it led to, is of the past."""
    resolve_alerts(session, project, alias)
    session.execute(delete(Evidence).where(Evidence.project_id == project, Evidence.alias == alias))


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
        .on_conflict_do_nothing()
    )
    return session.get_one(Evidence, _key(who), populate_existing=True, with_for_update=True)


def _key(who: Served) -> tuple[str, str, str, str]:
    return who.project, who.alias, who.checkpoint_id, who.calibrator_id or OWN
