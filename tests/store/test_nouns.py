"""Data sets, checkpoints, reports, aliases, idempotency keys."""

from __future__ import annotations

import threading

import pytest

from store.access.idempotency import keep, look, take
from store.database import Database
from store.datasets.datasets import create_dataset, get_dataset, list_datasets
from store.errors import IdempotencyConflict, NotFound, StaleFence
from store.jobs.claims import Claim, release
from store.models.aliases import alias_history, delete_alias, get_alias, list_aliases, set_alias
from store.models.checkpoints import create_checkpoint, get_checkpoint, list_checkpoints
from store.reports.reports import create_report, get_report, list_reports, newest_with_logits
from store.tables import DEFAULT_PROJECT, Artifact, Checkpoint
from tests.store.conftest import claimed, new_job


def a_checkpoint(database: Database, held: Claim) -> str:
    with database.session() as session:
        artifact = Artifact(
            id=f"art_{held.fence}_{held.job_id[-20:]}",
            kind="checkpoint",
            state="committed",
            media_type="application/x-tar",
        )
        session.add(artifact)
        session.flush()
        return create_checkpoint(
            session,
            held,
            artifact_id=artifact.id,
            architecture="carot-mini",
            method="carot",
            classes=["a", "b"],
            templates=["{}"],
            calibrator={"temperature": 1.5},
            metrics={"accuracy": 0.9},
        ).id


def test_the_newest_report_that_kept_logits(database: Database) -> None:
    held = claimed(database, new_job(database))
    checkpoint = a_checkpoint(database, held)
    with database.session() as session:
        artifact = session.get_one(Checkpoint, checkpoint).artifact_id
        assert newest_with_logits(session, DEFAULT_PROJECT, checkpoint) is None
        ids = [
            create_report(
                session, held, checkpoint_id=checkpoint, document={}, logits_artifact_id=logits
            ).id
            for logits in (artifact, artifact, None)
        ]
        assert newest_with_logits(session, DEFAULT_PROJECT, checkpoint) == ids[1]
        assert newest_with_logits(session, "proj_x", checkpoint) is None


def test_data_sets(database: Database) -> None:
    with database.session() as session:
        made = create_dataset(
            session,
            DEFAULT_PROJECT,
            name="pets",
            source={"source": "upload"},
            classes=["cat", "dog"],
            splits={"train": {"cat": 3, "dog": 4}},
            images=7,
            bytes=700,
            artifact=None,
        )
        assert get_dataset(session, DEFAULT_PROJECT, made.id).splits["train"]["dog"] == 4
        assert [d.id for d in list_datasets(session, DEFAULT_PROJECT).data] == [made.id]
        with pytest.raises(NotFound, match="ds_none"):
            get_dataset(session, DEFAULT_PROJECT, "ds_none")


def test_checkpoints_and_reports(database: Database) -> None:
    held = claimed(database, new_job(database, name="best"))
    checkpoint_id = a_checkpoint(database, held)
    with database.session() as session:
        report = create_report(session, held, checkpoint_id=checkpoint_id, document={"version": 1})
        assert get_report(session, DEFAULT_PROJECT, report.id).document == {"version": 1}
        assert get_checkpoint(session, DEFAULT_PROJECT, checkpoint_id).name == "best"
        assert [r.id for r in list_reports(session, DEFAULT_PROJECT, job_id=held.job_id).data] == [
            report.id
        ]
        assert list_checkpoints(session, DEFAULT_PROJECT, job_id="job_none").data == []
        with pytest.raises(NotFound):
            get_checkpoint(session, DEFAULT_PROJECT, "ckpt_none")
        with pytest.raises(NotFound):
            get_report(session, DEFAULT_PROJECT, "rep_none")


def test_a_stale_worker_makes_no_checkpoint(database: Database) -> None:
    held = claimed(database, new_job(database))
    with database.session() as session:
        release(session, held)
    with pytest.raises(StaleFence):
        a_checkpoint(database, held)
    with pytest.raises(StaleFence), database.session() as session:
        create_report(session, held, checkpoint_id=None, document={})


def test_aliases_remember_where_they_pointed(database: Database) -> None:
    first = a_checkpoint(database, claimed(database, new_job(database)))
    second = a_checkpoint(database, claimed(database, new_job(database)))
    for checkpoint_id in (first, second):
        with database.session() as session:
            set_alias(session, DEFAULT_PROJECT, "production", checkpoint_id)
    with database.session() as session:
        assert get_alias(session, DEFAULT_PROJECT, "production").checkpoint_id == second
        set_alias(session, DEFAULT_PROJECT, "candidate", first)
        assert [a.name for a in list_aliases(session, DEFAULT_PROJECT).data] == [
            "candidate",
            "production",
        ]
    with database.session() as session:
        delete_alias(session, DEFAULT_PROJECT, "production")
    with database.session() as session:
        with pytest.raises(NotFound):
            get_alias(session, DEFAULT_PROJECT, "production")
        history = [
            change.checkpoint_id for change in alias_history(session, DEFAULT_PROJECT, "production")
        ]
    assert history == [None, second, first]


def test_the_same_request_twice_makes_one_thing(database: Database) -> None:
    answer = {"status": 201, "body": {"id": "job_1"}, "headers": {}}
    request = DEFAULT_PROJECT, "k", "POST /jobs"
    with database.session() as session:
        assert take(session, *request, "f") is None
        session.rollback()  # what made nothing leaves the key free
    with database.session() as session:
        assert look(session, *request, "f") is None
        assert take(session, *request, "f") is None
        keep(session, *request, answer)
    with database.session() as session:
        assert look(session, *request, "f") == take(session, *request, "f") == answer
    for ask in (look, take):
        with pytest.raises(IdempotencyConflict), database.session() as session:
            ask(session, *request, "other")
    with database.session() as session:
        assert take(session, DEFAULT_PROJECT, "k", "POST /datasets", "other") is None


def test_the_second_of_two_at_once_waits_and_finds_the_answer(database: Database) -> None:
    request = DEFAULT_PROJECT, "k", "POST /jobs"
    taken, answers = threading.Event(), []

    def second() -> None:
        taken.wait()
        with database.session() as session:
            answers.append(take(session, *request, "f"))

    thread = threading.Thread(target=second)
    thread.start()
    with database.session() as session:
        assert take(session, *request, "f") is None
        taken.set()
        thread.join(0.3)
        assert answers == []
        keep(session, *request, {"status": 201})
    thread.join()
    assert answers == [{"status": 201}]
