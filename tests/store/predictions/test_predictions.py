"""Predictions that were logged: their windows, their removal, versions of calibrators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from store.access.projects import ensure_project
from store.artifacts import ArtifactStore
from store.artifacts.rows import commit, store_pending
from store.database import Database
from store.errors import NotFound
from store.models.aliases import alias_history, get_alias, set_alias, set_logging
from store.models.calibrators import add_version, get_calibrator, list_calibrators, served_as
from store.models.checkpoints import get_checkpoint
from store.predictions.labels import Given, give_labels
from store.predictions.log import Window, drop_predictions, read_labelled, read_window
from store.retention.retention import collect_garbage, tidy
from store.settings import Settings
from store.tables import DEFAULT_PROJECT, Artifact, Calibrator, Label, ModelAlias, Prediction
from tests.store.predictions.predicted import TEMPERATURE, a_checkpoint, a_model, predict

DAY = timedelta(days=1)


def window(checkpoint_id: str, **changes: Any) -> Window:
    return Window(
        **{"project": DEFAULT_PROJECT, "alias": "pets", "checkpoint_id": checkpoint_id,
           "calibrator_id": None, "last": 100} | changes
    )  # fmt: skip


def another_version(database: Database, checkpoint_id: str, temperature: float = 3.0) -> str:
    with database.session() as session:
        document = TEMPERATURE | {"temperature": temperature, "n": 40}
        figures = {"nll_before": 0.9, "nll_after": 0.6, "held_out": {"n": 20}}
        return add_version(session, DEFAULT_PROJECT, checkpoint_id, document, **figures).id  # type: ignore[arg-type]


def test_a_window_is_of_one_calibrator_and_in_order(database: Database) -> None:
    checkpoint = a_model(database)
    version = another_version(database, checkpoint)
    old = predict(database, checkpoint, at=datetime.now(UTC) - DAY, count=2)
    own = predict(database, checkpoint, count=3)
    [other] = predict(database, checkpoint, calibrator_id=version)
    predict(database, checkpoint, alias="else")
    predict(database, a_checkpoint(database))
    with database.session() as session:
        give_labels(session, DEFAULT_PROJECT, [Given(own[1], "hen")])

    def ids(**changes: Any) -> list[str]:
        with database.reading() as session:
            return [row.id for row in read_window(session, window(checkpoint, **changes))]

    assert ids() == [*old, *own]
    assert ids(last=2) == own[1:]
    assert ids(since=datetime.now(UTC) - DAY / 2) == own
    assert ids(calibrator_id=version) == [other]
    with database.reading() as session:
        rows = read_window(session, window(checkpoint, last=2))
    assert [row.truth for row in rows] == [2, None]
    assert (rows[0].confidence, rows[0].raw_confidence, rows[0].shift) == (0.8, 0.9, 40.0)


def test_labelled_logits_are_of_every_calibrator(database: Database) -> None:
    checkpoint = a_model(database)
    version = another_version(database, checkpoint)
    own = predict(database, checkpoint, count=2)
    [other] = predict(database, checkpoint, calibrator_id=version, at=datetime.now(UTC) + DAY)
    [without] = predict(database, checkpoint, logits=None, at=datetime.now(UTC) - DAY)
    with database.session() as session:
        labels = [Given(id, "cat") for id in (own[0], other, without)]
        give_labels(session, DEFAULT_PROJECT, labels)
    with database.reading() as session:
        rows = read_labelled(session, window(checkpoint))
    assert [row.id for row in rows] == [own[0], other]
    assert np.frombuffer(rows[0].logits, "<f4").tolist() == [0.0, 2.0, 0.5]


def test_old_predictions_go_with_their_labels_and_images(
    database: Database, blobs: ArtifactStore, settings: Settings
) -> None:
    checkpoint = a_model(database)
    stored = store_pending(database, blobs, [b"image"], "image")
    with database.session() as session:
        image = commit(session, blobs, stored).id
    cutoff = datetime.now(UTC) - DAY
    before = predict(database, checkpoint, at=cutoff - DAY / 24, count=2)
    predict(database, checkpoint, at=cutoff - DAY / 24 - DAY, image_artifact_id=image)
    after = predict(database, checkpoint, at=cutoff + DAY / 24, count=2)
    with database.session() as session:
        labels = [Given(id, "cat") for id in (before[0], after[0])]
        give_labels(session, DEFAULT_PROJECT, labels)
    with database.session() as session:
        assert drop_predictions(session, cutoff, limit=2) == 2
    with database.session() as session:
        assert drop_predictions(session, cutoff, limit=2) == 1
        assert drop_predictions(session, cutoff, limit=2) == 0
    with database.reading() as session:
        assert session.scalars(select(Prediction.id).order_by(Prediction.id)).all() == after
        assert session.scalars(select(Label.prediction_id)).all() == [after[0]]
        assert session.get_one(Artifact, image).state == "deleted"
    assert blobs.exists(stored.blob.key)
    collect_garbage(database, blobs)
    assert not blobs.exists(stored.blob.key)


def test_the_sweep_keeps_what_is_young_enough(
    database: Database, blobs: ArtifactStore, settings: Settings
) -> None:
    checkpoint = a_model(database)
    predict(database, checkpoint, at=datetime.now(UTC) - 91 * DAY)
    young = predict(database, checkpoint, at=datetime.now(UTC) - 89 * DAY)

    def left() -> list[str]:
        with database.reading() as session:
            return list(session.scalars(select(Prediction.id)))

    tidy(database, blobs, settings)
    assert left() == young
    tidy(database, blobs, settings.model_copy(update={"keep_prediction_days": 88.0}))
    assert left() == []


# Versions -------------------------------------------------------------------------------------


def test_what_a_run_fitted_is_the_first_version(database: Database) -> None:
    checkpoint = a_checkpoint(database)
    other = another_version(database, checkpoint)
    with database.reading() as session:
        newest, first = list_calibrators(session, DEFAULT_PROJECT, checkpoint).data
        assert newest.id == other
        assert (newest.origin, newest.n, newest.held_out) == ("recalibration", 40, {"n": 20})
        assert (first.origin, first.kind, first.n) == ("run", "temperature", 100)
        assert (first.nll_before, first.nll_after) == (1.0, 0.5)
        assert first.document == get_checkpoint(session, DEFAULT_PROJECT, checkpoint).calibrator
        assert served_as(session, DEFAULT_PROJECT, checkpoint, first.id) is None
        assert served_as(session, DEFAULT_PROJECT, checkpoint, other) == other


def test_versions_are_of_one_checkpoint_and_project(database: Database) -> None:
    checkpoint, without = a_checkpoint(database), a_checkpoint(database, calibrator=None)
    version = another_version(database, checkpoint)
    with database.session() as session:
        project = ensure_project(session, "other").id
        assert list_calibrators(session, DEFAULT_PROJECT, without).data == []
        assert list_calibrators(session, project, checkpoint).data == []
        with pytest.raises(NotFound):
            served_as(session, DEFAULT_PROJECT, without, version)
        with pytest.raises(NotFound):
            get_calibrator(session, project, version)


def test_an_alias_moves_between_versions(database: Database) -> None:
    checkpoint = a_model(database)
    version = another_version(database, checkpoint)
    with database.session() as session:
        alias = set_logging(session, DEFAULT_PROJECT, "pets", log_rate=0.25)
        assert (alias.log_rate, alias.log_images) == (0.25, False)
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "pets", checkpoint, version, log_images=True)
    with database.reading() as session:
        alias = get_alias(session, DEFAULT_PROJECT, "pets")
        assert (alias.calibrator_id, alias.log_rate, alias.log_images) == (version, 0.25, True)
        history = alias_history(session, DEFAULT_PROJECT, "pets")
    assert [each.calibrator_id for each in history] == [version, None]


def test_everything_is_logged_at_first(database: Database) -> None:
    a_model(database)
    with database.reading() as session:
        alias = get_alias(session, DEFAULT_PROJECT, "pets")
        assert (alias.calibrator_id, alias.log_rate, alias.log_images) == (None, 1.0, False)


def test_checkpoints_from_before_get_their_first_version(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    database.upgrade("0003")
    moment = "2026-01-02 03:04:05+00:00" if not database.is_sqlite else "2026-01-02 03:04:05.000000"
    with database.session() as session:
        values = {"p": DEFAULT_PROJECT, "m": moment}
        for statement in (
            (
                "INSERT INTO jobs (id, project_id, kind, state, spec, dataset, attempts,"
                " max_attempts, fence, event_seq, created_at, updated_at)"
                " VALUES ('job_1', :p, 'finetune', 'succeeded', '{}', 'd', 1, 2, 1, 1, :m, :m)"
            ),
            (
                "INSERT INTO artifacts (id, kind, state, media_type, created_at)"
                " VALUES ('art_1', 'checkpoint', 'committed', 'application/x-tar', :m)"
            ),
            *(
                "INSERT INTO checkpoints (id, project_id, job_id, artifact_id, architecture,"
                f" method, classes, templates, calibrator, metrics, created_at) VALUES ('{id}', :p,"
                f" 'job_1', 'art_1', 'a', 'm', '[]', '[]', {document}, '{{}}', :m)"
                for id, document in (
                    ("ckpt_1", '\'{"temperature": 1.5, "n": 7, "nll_after": 0.25}\''),
                    ("ckpt_2", "NULL"),
                )
            ),
            (
                "INSERT INTO model_aliases (project_id, name, checkpoint_id, updated_at)"
                " VALUES (:p, 'old', 'ckpt_1', :m)"
            ),
            (
                "INSERT INTO webhooks (id, project_id, url, secret, states, created_at)"
                " VALUES ('hook_1', :p, 'https://example.org', 's', '[]', :m)"
            ),
        ):
            session.execute(text(statement), values)
    database.upgrade()
    with database.reading() as session:
        [row] = session.scalars(select(Calibrator))
        assert (row.checkpoint_id, row.kind, row.origin, row.n) == (
            "ckpt_1",
            "temperature",
            "run",
            7,
        )
        assert (row.nll_before, row.nll_after) == (None, 0.25)
        assert row.document["temperature"] == 1.5
        assert row.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        alias = session.get_one(ModelAlias, (DEFAULT_PROJECT, "old"))
        assert (alias.calibrator_id, alias.log_rate, alias.log_images) == (None, 1.0, False)
        assert session.scalar(text("SELECT events FROM webhooks")) in (["job"], '["job"]')
    database.close()
