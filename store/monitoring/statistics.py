"""Statistics over all jobs and models, for `/metrics`.

Every process that asks gets the same numbers. Totals only grow: they are counted from events, which
stay, and not from jobs, of which a retry takes the end back.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, and_, case, func, select, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from store.database import database_now
from store.jobs.states import HELD, TERMINAL, JobState
from store.reports.reports import in_distribution
from store.settings import Settings
from store.tables import Job, JobEvent, ModelAlias

DURATIONS = (1, 10, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86_400, 3 * 86_400)
"""Upper bounds of the histogram of job durations, in seconds."""
SETTLED = timedelta(minutes=10)
"""Longer than any transaction that writes an event: no event turns up behind this any more."""
MARGIN = timedelta(minutes=1)
MAX_MODELS = 200


class seconds_between(FunctionElement[float]):  # noqa: N801 - reads like the SQL function
    """Seconds from the second moment to the first."""

    inherit_cache = True
    type = Float()


@compiles(seconds_between, "sqlite")
def _sqlite_seconds(element: seconds_between, compiler: Any, **kw: Any) -> str:
    later, earlier = (compiler.process(each, **kw) for each in element.clauses)
    return f"((julianday({later}) - julianday({earlier})) * 86400.0)"


@compiles(seconds_between, "postgresql")
def _postgres_seconds(element: seconds_between, compiler: Any, **kw: Any) -> str:
    later, earlier = (compiler.process(each, **kw) for each in element.clauses)
    return f"CAST(extract(epoch FROM ({later} - {earlier})) AS double precision)"


@dataclass(frozen=True)
class Standing:
    """How things stand now.

    Attributes:
        jobs: how many by (state, kind).
        queued: how many wait, by queue.
        oldest_seconds: how long the one that has waited longest has, by queue.
        workers: how many hold a job, by `current`, `late` or `expired` lease.
        lease_age_seconds: since the lease was extended that was not for the longest time.
    """

    jobs: Mapping[tuple[str, str], int]
    queued: Mapping[str, int]
    oldest_seconds: Mapping[str, float]
    workers: Mapping[str, int]
    lease_age_seconds: float


def standing(session: Session, settings: Settings) -> Standing:
    """How things stand, by the database's clock."""
    jobs = session.execute(select(Job.state, Job.kind, func.count()).group_by(Job.state, Job.kind))
    # A job changes when it is queued, and after that only if its priority does.
    waited = func.max(seconds_between(database_now(), Job.updated_at))
    waiting = session.execute(
        select(Job.queue, func.count(), waited)
        .where(Job.state == JobState.QUEUED)
        .group_by(Job.queue)
    ).all()
    lease = case(
        (Job.lease_expires_at < database_now(), "expired"),
        (Job.lease_expires_at < database_now(settings.late_seconds), "late"),
        else_="current",
    )
    left = func.min(seconds_between(Job.lease_expires_at, database_now()))
    held = session.execute(
        select(lease, func.count(Job.worker.distinct()), left)
        .where(Job.state.in_(HELD))
        .group_by(lease)
    ).all()
    least = min((seconds for *_, seconds in held), default=settings.lease_seconds)
    return Standing(
        jobs={(state, kind): count for state, kind, count in jobs},
        queued={queue: count for queue, count, _ in waiting},
        oldest_seconds={queue: max(0.0, seconds) for queue, _, seconds in waiting},
        workers={state: count for state, count, _ in held},
        lease_age_seconds=max(0.0, settings.lease_seconds - least),
    )


@dataclass
class Durations:
    """A histogram: `counts[i]` took at most `DURATIONS[i]` seconds; `count` all."""

    counts: list[int] = field(default_factory=lambda: [0] * len(DURATIONS))
    count: int = 0
    seconds: float = 0.0

    def __add__(self, other: Durations) -> Durations:
        counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        return Durations(counts, self.count + other.count, self.seconds + other.seconds)


@dataclass(frozen=True)
class Totals:
    """What has happened since there is this database.

    Attributes:
        ended: jobs that ended, by (kind, outcome); one that is retried ends again.
        durations: from a job's first start to that end; without those that never started.
        exits: attempts that ended before their job did, by reason.
    """

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: Mapping[tuple[str, str], Durations] = field(default_factory=dict)
    exits: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Totals) -> Totals:
        keys = self.durations.keys() | other.durations.keys()
        none = Durations()
        return Totals(
            self.ended + other.ended,
            {k: self.durations.get(k, none) + other.durations.get(k, none) for k in keys},
            self.exits + other.exits,
        )


class Ledger:
    """Adds up totals; what can no longer change is read once and cached."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled = Totals()
        self._until: datetime | None = None

    def read(self, session: Session) -> Totals:
        """All that has happened until now."""
        with self._lock:
            now = session.scalar(select(database_now()))
            assert now is not None
            settled = now - SETTLED
            if self._until is None or settled > self._until:
                self._settled += _totals(session, self._until, settled)
                self._until = settled
            return self._settled + _totals(session, self._until, None)


def _totals(session: Session, since: datetime | None, until: datetime | None) -> Totals:
    """What happened after `since` and not after `until`."""
    window: list[ColumnElement[bool]] = [JobEvent.type == "state"]
    if until is not None:
        window.append(JobEvent.created_at <= until)
    if since is not None:
        # A job changes with each of its events, and of jobs there is an index by time.
        changed = select(Job.id).where(Job.updated_at > since - MARGIN)
        window += [JobEvent.created_at > since, JobEvent.job_id.in_(changed)]
    happened = select().select_from(JobEvent).join(Job, Job.id == JobEvent.job_id).where(*window)

    outcome = JobEvent.data["state"].as_string()
    seconds = seconds_between(JobEvent.created_at, Job.started_at)
    ran = and_(Job.started_at.is_not(None), seconds >= 0)
    columns = [_sum(and_(ran, seconds <= bound)) for bound in DURATIONS]
    rows = session.execute(
        happened.add_columns(
            Job.kind, outcome, func.count(), _sum(ran), _sum(ran, seconds), *columns
        )
        .where(outcome.in_(TERMINAL))
        .group_by(Job.kind, outcome)
    ).all()
    reason = JobEvent.data[("exit", "reason")].as_string()
    exits = session.execute(
        happened.add_columns(reason, func.count()).where(reason.is_not(None)).group_by(reason)
    ).all()
    return Totals(
        Counter({(kind, end): count for kind, end, count, *_ in rows}),
        {
            (kind, end): Durations([int(each) for each in counts], int(count), float(seconds))
            for kind, end, _, count, seconds, *counts in rows
        },
        Counter({reason: int(count) for reason, count in exits}),
    )


def _sum(condition: ColumnElement[bool], value: Any = 1) -> ColumnElement[Any]:
    return func.sum(case((condition, value), else_=0))


@dataclass(frozen=True)
class ServedModel:
    """An alias, where it points, and what was measured of that in distribution, if anything was.

    Attributes:
        measured: accuracy, calibration error and mean confidence, as served: calibrated where a
            temperature was fitted.
    """

    project: str
    alias: str
    checkpoint: str
    measured: Mapping[str, float] | None


class Models:
    """Reads aliases with what was measured; a report is read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Mapping[str, float] | None] = {}

    def read(self, session: Session) -> list[ServedModel]:
        """The aliases that changed last, no more than `MAX_MODELS`."""
        aliases = session.execute(
            select(ModelAlias.project_id, ModelAlias.name, ModelAlias.checkpoint_id)
            .order_by(ModelAlias.updated_at.desc(), ModelAlias.project_id, ModelAlias.name)
            .limit(MAX_MODELS)
        ).all()
        with self._lock:
            wanted = {row.checkpoint_id for row in aliases}
            found = {key: self._known[key] for key in wanted & self._known.keys()}
            found |= {key: _measured(session, key) for key in wanted - found.keys()}
            self._known = found
        return [
            ServedModel(project, alias, checkpoint, found[checkpoint])
            for project, alias, checkpoint in aliases
        ]


def targets_of(session: Session, models: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Where those of some (project, alias) that still exist point to."""
    rows = session.execute(
        select(ModelAlias.project_id, ModelAlias.name, ModelAlias.checkpoint_id).where(
            tuple_(ModelAlias.project_id, ModelAlias.name).in_(models)
        )
    )
    return {(project, alias): checkpoint for project, alias, checkpoint in rows}


def _measured(session: Session, checkpoint_id: str) -> Mapping[str, float] | None:
    """The in-distribution figures of the report that its own job wrote."""
    row = in_distribution(session, checkpoint_id)
    if row is None:
        return None
    served = row["calibrated"] or row["raw"]
    return {name: float(served[name]) for name in ("accuracy", "ece", "mean_confidence")}
