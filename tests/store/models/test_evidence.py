"""Evidence against an alias's confidences: gathered once, told once, begun anew when it moves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from carot.calibration.monitoring.e_process import ALPHA
from store.database import Database
from store.models.alerts import list_alerts, open_alert
from store.models.aliases import delete_alias, set_alias
from store.models.evidence import Served, Standing, standing
from store.predictions.labels import Given, give_labels
from store.tables import DEFAULT_PROJECT, CalibrationAlert, WebhookDelivery
from store.webhooks.webhooks import ALERT_EVENT, JOB_EVENT, create_webhook
from tests.store.predictions.predicted import a_checkpoint, a_model, predict

RIGHT, WRONG = "dog", "cat"
"""Every prediction says `dog`, with 0.8."""


def label(database: Database, ids: list[str], labels: list[str]) -> None:
    with database.session() as session:
        given = [Given(id, name) for id, name in zip(ids, labels, strict=True)]
        outcomes = give_labels(session, DEFAULT_PROJECT, given)
        assert all(isinstance(each, str) for each in outcomes)


def now(database: Database, checkpoint: str, calibrator: str | None = None) -> Standing:
    with database.reading() as session:
        return standing(session, Served(DEFAULT_PROJECT, "pets", checkpoint, calibrator))


def alerts(database: Database) -> list[CalibrationAlert]:
    with database.reading() as session:
        return list(list_alerts(session, DEFAULT_PROJECT, "pets").data)


def is_open(database: Database) -> bool:
    with database.reading() as session:
        return open_alert(session, DEFAULT_PROJECT, "pets") is not None


def test_before_the_first_label_nothing_is_known(database: Database) -> None:
    found = now(database, a_model(database))
    assert (found.evidence, found.peak, found.labels) == (1.0, 1.0, 0)
    assert (found.begun_at, found.rejected_at) == (None, None)


def test_true_confidences_raise_no_alert(database: Database) -> None:
    checkpoint = a_model(database)
    ids = predict(database, checkpoint, count=200)
    label(database, ids, [WRONG if i % 5 == 0 else RIGHT for i in range(200)])
    found = now(database, checkpoint)
    assert found.labels == 200
    assert found.peak < 1 / ALPHA
    assert found.rejected_at is None
    assert alerts(database) == []


def test_confidences_that_are_not_true_raise_one(database: Database) -> None:
    checkpoint = a_model(database)
    ids = predict(database, checkpoint, count=90)
    label(database, ids[:2], [WRONG] * 2)
    assert alerts(database) == []
    label(database, ids[2:60], [WRONG] * 58)
    [alert] = alerts(database)
    assert (alert.checkpoint_id, alert.calibrator_id, alert.labels) == (checkpoint, None, 60)
    assert (alert.alpha, alert.resolved_at) == (ALPHA, None)
    assert alert.evidence >= 1 / ALPHA
    found = now(database, checkpoint)
    assert found.rejected_at is not None
    assert found.peak >= found.evidence >= 1 / ALPHA
    label(database, ids[60:], [WRONG] * 30)
    assert len(alerts(database)) == 1
    assert now(database, checkpoint).labels == 90


def test_what_rejected_once_has_rejected(database: Database) -> None:
    """Evidence may shrink again; that it was there is what is promised to be rare."""
    checkpoint = a_model(database)
    ids = predict(database, checkpoint, count=700)
    label(database, ids[:30], [WRONG] * 30)
    peak = now(database, checkpoint).peak
    label(database, ids[30:], [WRONG if i % 5 == 0 else RIGHT for i in range(670)])
    found = now(database, checkpoint)
    assert found.evidence < peak <= found.peak
    assert found.rejected_at is not None
    assert is_open(database)


def test_one_label_at_a_time_is_the_same_as_all_at_once(database: Database) -> None:
    checkpoint = a_model(database)
    names = [WRONG if i % 3 == 0 else RIGHT for i in range(12)]
    ids = predict(database, checkpoint, count=12)
    for id, name in zip(ids, names, strict=True):
        label(database, [id], [name])
    one_by_one = now(database, checkpoint).evidence
    with database.session() as session:
        delete_alias(session, DEFAULT_PROJECT, "pets")
        set_alias(session, DEFAULT_PROJECT, "pets", checkpoint)
    label(database, predict(database, checkpoint, count=12), names)
    assert abs(now(database, checkpoint).evidence / one_by_one - 1) < 1e-9


def test_a_second_label_is_not_seen_again(database: Database) -> None:
    checkpoint = a_model(database)
    [id] = predict(database, checkpoint)
    label(database, [id], [WRONG])
    before = now(database, checkpoint)
    label(database, [id], [WRONG])
    with database.session() as session:
        give_labels(session, DEFAULT_PROJECT, [Given(id, RIGHT, replace=True)])
    assert now(database, checkpoint) == before


def test_moving_the_alias_settles_it(database: Database) -> None:
    checkpoint = a_model(database)
    label(database, predict(database, checkpoint, count=60), [WRONG] * 60)
    assert is_open(database)
    with database.session() as session:  # to where it is: nothing moves
        set_alias(session, DEFAULT_PROJECT, "pets", checkpoint)
    assert is_open(database)
    assert now(database, checkpoint).labels == 60
    other = a_checkpoint(database)
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "pets", other)
    assert not is_open(database)
    [alert] = alerts(database)
    assert alert.resolved_at is not None
    assert now(database, other).labels == 0
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "pets", checkpoint)
    assert now(database, checkpoint).labels == 0
    label(database, predict(database, checkpoint, count=60), [WRONG] * 60)
    assert len(alerts(database)) == 2


def test_labels_for_what_was_replaced_raise_no_alert(database: Database) -> None:
    old = a_model(database)
    ids = predict(database, old, count=60)
    new = a_checkpoint(database)
    with database.session() as session:
        set_alias(session, DEFAULT_PROJECT, "pets", new)
    label(database, ids, [WRONG] * 60)
    assert alerts(database) == []
    assert now(database, new).labels == 0
    with database.session() as session:
        delete_alias(session, DEFAULT_PROJECT, "pets")
    label(database, predict(database, old, count=60), [WRONG] * 60)
    assert alerts(database) == []


def test_those_who_want_to_hear_of_it_are_told(database: Database) -> None:
    checkpoint = a_model(database)
    wanted = {"all": [], "alerts": [ALERT_EVENT], "jobs": [JOB_EVENT]}
    with database.session() as session:
        hooks = {
            name: create_webhook(session, DEFAULT_PROJECT, "https://a.example", ["failed"], events)
            for name, events in wanted.items()
        }
    label(database, predict(database, checkpoint, count=60), [WRONG] * 60)
    with database.reading() as session:
        rows = session.scalars(select(WebhookDelivery)).all()
    assert {row.webhook_id for row in rows} == {hooks["all"].id, hooks["alerts"].id}
    [alert] = alerts(database)
    for row in rows:
        assert (row.job_id, row.payload["type"]) == (None, "calibration.alert")
        assert row.payload["data"]["alert"] == {
            "id": alert.id,
            "model": "pets",
            "checkpoint_id": checkpoint,
            "calibrator_id": None,
            "evidence": pytest.approx(alert.evidence),
            "alpha": ALPHA,
            "labels": 60,
            "finding": "overconfident",
        }


def test_no_label_is_lost_between_two_who_give_them(database: Database) -> None:
    checkpoint = a_model(database)
    ids = predict(database, checkpoint, count=60)
    url = database.url.render_as_string(hide_password=False)

    def work(mine: list[str]) -> None:
        own = Database(url)
        try:
            for id in mine:
                label(own, [id], [WRONG])
        finally:
            own.close()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, ids[::2]), pool.submit(work, ids[1::2])]:
            done.result(120)
    assert now(database, checkpoint).labels == 60
    assert len(alerts(database)) == 1
