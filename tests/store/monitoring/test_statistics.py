"""Figures over all jobs, counted by the database and, independently, from every row."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from store.database import Database, database_now
from store.ids import new_id
from store.jobs.claims import Claim, expire, fail, lose_attempt, succeed
from store.jobs.jobs import cancel_job, retry_job
from store.jobs.states import TERMINAL
from store.models.aliases import delete_alias, set_alias
from store.monitoring import statistics
from store.monitoring.statistics import (
    DURATIONS,
    Ledger,
    Models,
    seconds_between,
    standing,
    targets_of,
)
from store.settings import Settings
from store.tables import DEFAULT_PROJECT, Artifact, Checkpoint, Job, JobEvent, Report
from tests.store.conftest import KILLED, claimed, new_job

ERROR = {"code": "no_space", "message": "full"}


def age(database: Database, job_id: str, **seconds: float) -> None:
    """Move moments of a job into the past."""
    with database.session() as session:
        values = {name: database_now(-ago) for name, ago in seconds.items()}
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def end(database: Database, held: Claim, how: str) -> None:
    with database.session() as session:
        match how:
            case "succeeded":
                succeed(session, held)
            case "failed":
                fail(session, held, ERROR)
            case "lost":
                lose_attempt(session, held, KILLED)


def read(database: Database, ledger: Ledger | None = None) -> statistics.Totals:
    with database.reading() as session:
        return (ledger or Ledger()).read(session)


def recount(database: Database) -> tuple[Counter[Any], Counter[Any]]:
    """Endings and exits from every event, one by one."""
    ended: Counter[Any] = Counter()
    exits: Counter[Any] = Counter()
    with database.reading() as session:
        for event, kind in session.execute(
            select(JobEvent, Job.kind).join(Job, Job.id == JobEvent.job_id)
        ):
            if event.type == "state" and event.data["state"] in TERMINAL:
                ended[kind, event.data["state"]] += 1
            if "exit" in event.data:
                exits[event.data["exit"]["reason"]] += 1
    return ended, exits


def test_the_queue_and_who_waits_longest(database: Database, settings: Settings) -> None:
    first, second = new_job(database), new_job(database)
    other = new_job(database, queue="gpu")
    claimed(database, new_job(database))
    age(database, first, updated_at=500, created_at=9000)
    age(database, second, updated_at=20)
    age(database, other, updated_at=70)
    with database.reading() as session:
        now = standing(session, settings)
    assert now.jobs == {("queued", "finetune"): 3, ("running", "finetune"): 1}
    assert now.queued == {"cpu": 2, "gpu": 1}
    assert now.oldest_seconds["cpu"] == pytest.approx(500, abs=30)
    assert now.oldest_seconds["gpu"] == pytest.approx(70, abs=30)


def test_nothing_is_known_of_an_empty_database(database: Database, settings: Settings) -> None:
    with database.reading() as session:
        now = standing(session, settings)
        assert Models().read(session) == []
    assert [*now.jobs, *now.queued, *now.oldest_seconds, *now.workers] == []
    assert now.lease_age_seconds == 0
    totals = read(database)
    assert [*totals.ended, *totals.durations, *totals.exits] == []


def test_workers_by_their_leases(database: Database, settings: Settings) -> None:
    assert settings.late_seconds == pytest.approx(22.5)  # 60 - 2.5 * 15
    leases = {"fresh": 55.0, "same": 50.0, "late": 10.0, "silent": 0.001}
    for worker, left in leases.items():
        claimed(database, new_job(database), worker=worker, lease=left)
    claimed(database, new_job(database), worker="fresh", lease=58.0)
    with database.session() as session:
        silent = session.scalars(select(Job.id).where(Job.worker == "silent")).one()
        session.execute(
            update(Job).where(Job.id == silent).values(lease_expires_at=database_now(-30))
        )
    with database.reading() as session:
        now = standing(session, settings)
    assert now.workers == {"current": 2, "late": 1, "expired": 1}
    assert now.lease_age_seconds == pytest.approx(90, abs=20)


def test_moments_are_told_apart_to_the_millisecond(database: Database) -> None:
    job_id = new_job(database)
    with database.session() as session:
        job = session.get_one(Job, job_id)
        job.finished_at = job.created_at + timedelta(days=400, seconds=12, milliseconds=345)
    with database.reading() as session:
        query = select(seconds_between(Job.finished_at, Job.created_at)).where(Job.id == job_id)
        assert session.scalar(query) == pytest.approx(400 * 86_400 + 12.345, abs=1e-3)


def test_durations_are_those_of_runs_that_ended(database: Database) -> None:
    taken = {5.0: "succeeded", 200.0: "succeeded", 50_000.0: "succeeded", 40.0: "failed"}
    for seconds, how in taken.items():
        held = claimed(database, new_job(database))
        age(database, held.job_id, started_at=seconds)
        end(database, held, how)
    waiting = new_job(database)
    with database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, waiting)
    totals = read(database)
    assert totals.ended == recount(database)[0]
    assert totals.ended["finetune", "cancelled"] == 1
    assert totals.durations["finetune", "cancelled"].count == 0  # it never ran
    done = totals.durations["finetune", "succeeded"]
    assert done.count == 3
    assert done.seconds == pytest.approx(50_205, abs=60)
    slack = 3.0  # what the test itself takes
    for bound, count in zip(DURATIONS, done.counts, strict=True):
        least = sum(s + slack <= bound for s, how in taken.items() if how == "succeeded")
        most = sum(s <= bound for s, how in taken.items() if how == "succeeded")
        assert least <= count <= most


def test_totals_never_fall_when_jobs_are_tried_again(database: Database) -> None:
    ledger = Ledger()
    held = claimed(database, new_job(database))
    end(database, held, "failed")
    before = read(database, ledger)
    with database.session() as session:
        retry_job(session, DEFAULT_PROJECT, held.job_id)
    assert read(database, ledger) == before
    again = claimed(database, held.job_id)
    end(database, again, "succeeded")
    after = read(database, ledger)
    assert after.ended == {("finetune", "failed"): 1, ("finetune", "succeeded"): 1}
    assert after.durations["finetune", "failed"] == before.durations["finetune", "failed"]


def test_attempts_by_what_ended_them(database: Database) -> None:
    held = claimed(database, new_job(database))
    end(database, held, "lost")
    again = claimed(database, held.job_id)
    end(database, again, "lost")
    expired = claimed(database, new_job(database), lease=0.001)
    with database.session() as session:
        session.execute(
            update(Job).where(Job.id == expired.job_id).values(lease_expires_at=database_now(-1))
        )
        expire(session, expired.job_id)
    totals = read(database)
    assert totals.exits == {"signal": 2, "worker_lost": 1}
    assert (totals.ended, totals.exits) == recount(database)


@pytest.mark.parametrize("settled", [timedelta(0), timedelta(seconds=0.05), timedelta(hours=1)])
def test_what_is_remembered_and_what_is_read_add_up(
    database: Database, monkeypatch: pytest.MonkeyPatch, settled: timedelta
) -> None:
    """One that remembers says what one says that reads everything, wherever the border is."""
    monkeypatch.setattr(statistics, "SETTLED", settled)
    ledger = Ledger()
    for turn in range(6):
        held = claimed(database, new_job(database))
        end(database, held, ("succeeded", "failed", "lost")[turn % 3])
        remembered, again = read(database, ledger), read(database)
        assert (remembered.ended, remembered.exits) == recount(database)
        assert remembered.ended == again.ended
        for key, durations in again.durations.items():
            assert remembered.durations[key].counts == durations.counts
            assert remembered.durations[key].seconds == pytest.approx(durations.seconds)


# Models ---------------------------------------------------------------------------------------


def figures(accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, "ece": 0.1, "mean_confidence": accuracy + 0.1}


def add_model(database: Database, document: dict[str, Any] | None) -> str:
    held = claimed(database, new_job(database))
    with database.session() as session:
        artifact = Artifact(id=new_id("art"), kind="checkpoint", state="committed", media_type="x")
        session.add(artifact)
        session.flush()
        checkpoint = Checkpoint(
            id=new_id("ckpt"), project_id=DEFAULT_PROJECT, job_id=held.job_id,
            artifact_id=artifact.id, architecture="a", method="carot", classes=[], templates=[],
            metrics={},
        )  # fmt: skip
        session.add(checkpoint)
        session.flush()
        if document is not None:
            session.add(
                Report(
                    id=new_id("rep"),
                    project_id=DEFAULT_PROJECT,
                    job_id=held.job_id,
                    checkpoint_id=checkpoint.id,
                    document=document,
                )
            )
        return checkpoint.id


def report(raw: float, calibrated: float | None) -> dict[str, Any]:
    shifted = {"in_distribution": False, "raw": figures(0.1), "calibrated": figures(0.1)}
    own = {
        "in_distribution": True,
        "raw": figures(raw),
        "calibrated": None if calibrated is None else figures(calibrated),
    }
    return {"datasets": [shifted, own]}


def test_models_with_what_was_measured_of_them(database: Database) -> None:
    fitted = add_model(database, report(0.5, 0.75))
    plain = add_model(database, report(0.5, None))
    unknown = add_model(database, None)
    reader = Models()
    with database.session() as session:
        for alias, checkpoint in {"a": fitted, "b": plain, "c": unknown, "d": fitted}.items():
            set_alias(session, DEFAULT_PROJECT, alias, checkpoint)
    with database.reading() as session:
        found = {each.alias: each for each in reader.read(session)}
    assert {alias: each.checkpoint for alias, each in found.items()} == {
        "a": fitted, "b": plain, "c": unknown, "d": fitted,
    }  # fmt: skip
    assert found["a"].measured == figures(0.75)
    assert found["b"].measured == figures(0.5)
    assert found["c"].measured is None
    with database.session() as session:
        delete_alias(session, DEFAULT_PROJECT, "a")
        set_alias(session, DEFAULT_PROJECT, "b", fitted)
    with database.reading() as session:
        found = {each.alias: each for each in reader.read(session)}
        gone, there = (DEFAULT_PROJECT, "a"), (DEFAULT_PROJECT, "b")
        assert targets_of(session, [gone, there, ("proj_other", "b")]) == {there: fitted}
        assert targets_of(session, []) == {}
    assert found.keys() == {"b", "c", "d"}
    assert found["b"].measured == figures(0.75)


def test_models_are_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_MODELS", 2)
    checkpoint = add_model(database, report(0.5, 0.75))
    for alias in ("old", "newer", "newest"):
        with database.session() as session:
            set_alias(session, DEFAULT_PROJECT, alias, checkpoint)
        with database.session() as session:  # the clock must not stand still between them
            session.scalar(select(database_now()))
    with database.reading() as session:
        assert len(Models().read(session)) == 2
