"""From a prediction to its label, the alert, the webhook, and another calibrator."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import select

from api.models.targets import ModelTarget
from api.monitoring.live_calibration import LiveFigures
from api.monitoring.recalibration import recalibrate_model
from api.predict.prediction_log import Said
from carot.calibration.monitoring.e_process import ALPHA
from store.errors import Conflict
from store.predictions.log import Window
from store.tables import DEFAULT_PROJECT, Checkpoint, Label
from tests.api.helpers import Start
from tests.api.operations.test_metrics import DIGITS, value
from tests.api.predict.test_predict import Service, calibration, png
from tests.api.rows import add_checkpoint, add_report
from tests.api.webhooks.receiver import receiver
from tests.paths import DOCS

PAGE = (DOCS / "monitoring.md").read_text(encoding="utf-8")


@pytest.fixture
def service(start: Start) -> Service:
    return watched(start(webhook_allow={"127.0.0.1"}, webhook_poll_seconds=0.02))


def watched(client: Any) -> Service:
    """A service whose checkpoint says in its row which calibrator it has."""
    service = Service(client)
    with service.context.database.session() as session:
        row = session.get_one(Checkpoint, service.checkpoint)
        row.calibrator = calibration().calibrator.to_json()
    service.state.monitoring.live = LiveFigures(service.context.database, seconds=0.0)
    return service


def record(service: Service, count: int, confidence: float = 0.6) -> list[str]:
    """Predictions of `bright`, as if they had been answered."""
    logit = 2.0 * np.log(confidence / (1 - confidence))  # at the temperature of 2
    said = Said(
        class_index=1,
        confidence=confidence,
        raw_confidence=float(1 / (1 + np.exp(-logit))),
        shift=0.5,
        logits_C=np.array([0.0, logit], dtype=np.float32),
    )
    version = service.client.get("/models/digits").json()["calibrator_id"]
    target = ModelTarget(DEFAULT_PROJECT, "digits", service.checkpoint, version, 1.0, False)
    return [str(id) for id in service.state.predictions.log.record(target, [said] * count)]


def give(service: Service, ids: list[str], *labels: int) -> None:
    """Labels, over and over until every prediction has one."""
    items = [{"id": id, "label": labels[i % len(labels)]} for i, id in enumerate(ids)]
    answer = service.client.post("/labels", json=items)
    assert answer.json()["refused"] == 0, answer.text


def look(service: Service, **parameters: Any) -> Any:
    answer = service.client.get("/models/digits/calibration", params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def recalibrate(service: Service, **body: Any) -> Any:
    return service.client.post("/models/digits/recalibrate", json=body)


@pytest.mark.slow
def test_from_a_prediction_to_another_calibrator(service: Service) -> None:
    client = service.client
    with receiver() as running:
        url = f"http://127.0.0.1:{running.port}/"
        webhook = client.post("/webhooks", json={"url": url, "events": ["calibration.alert"]})
        before = service.form(png(255)).json()
        assert before["calibrator"]["id"] is None
        answer = service.form(*[png(255)] * 6).json()
        ids = [each["id"] for each in answer["predictions"]] + record(service, 114, 0.9)
        give(service, ids, 0, 1, 1)  # of three, two are right
        [message] = running.wait_for(1)
    alert = message.verified(webhook.json()["secret"])["data"]["alert"]
    found = look(service)
    assert found["test"]["rejected"] is True
    assert found["test"]["labels"] == 120
    assert [(each["coverage"], each["labels"]) for each in found["online"]] == [
        (0.9, 120),
        (0.95, 120),
    ]
    assert found["test"]["peak"] >= found["test"]["threshold"] == 1 / ALPHA
    assert (found["alert"]["id"], found["alert"]["model"]) == (alert["id"], "digits")
    assert found["live"]["measured"]["accuracy"] == pytest.approx(2 / 3)
    assert found["window"]["labels"] == 120
    assert found["window"]["predictions"] == 121
    assert value(client, "carot_calibration_alert", **DIGITS) == 1
    assert value(client, "carot_calibration_labels", **DIGITS) == 120
    assert value(client, "carot_live_accuracy", **DIGITS) == pytest.approx(2 / 3)
    assert value(client, "carot_live_ece", **DIGITS) > 0.1
    assert value(client, "carot_calibration_evidence", **DIGITS) == pytest.approx(
        found["test"]["evidence"]
    )

    tried = recalibrate(service, dry_run=True).json()
    assert (tried["moved"], tried["calibrator_id"]) == (False, None)
    assert look(service)["alert"] is not None
    done = recalibrate(service).json()
    assert done["improves"] is done["moved"] is True
    assert done["nll_after"] < done["nll_before"]
    assert done["gain"] == pytest.approx(done["nll_before"] - done["nll_after"])
    assert done["gain_lower_bound"] > 0
    assert done["model"]["calibrator_id"] == done["calibrator_id"]
    assert {name: tried[name] for name in ("nll_before", "nll_after", "document")} == {
        name: done[name] for name in ("nll_before", "nll_after", "document")
    }
    after = service.form(png(255)).json()
    assert after["calibrator"]["id"] == done["calibrator_id"]
    top, old = (each["predictions"][0]["top"][0] for each in (after, before))
    assert top["confidence"] < old["confidence"]
    assert top["raw_confidence"] == old["raw_confidence"]

    again = look(service)
    assert again["calibrator_id"] == done["calibrator_id"]
    assert (again["alert"], again["test"]["rejected"], again["test"]["labels"]) == (None, False, 0)
    assert again["window"]["predictions"] == 1
    [past] = client.get("/models/digits/alerts").json()["data"]
    assert past["resolved_at"] is not None
    assert value(client, "carot_calibration_alert", **DIGITS) is None
    [version] = client.get("/models/digits/calibrators").json()["data"]
    assert (version["id"], version["origin"], version["current"]) == (
        done["calibrator_id"],
        "recalibration",
        True,
    )

    back = client.put("/models/digits", json={"checkpoint": service.checkpoint}).json()
    assert back["calibrator_id"] is None
    again = service.form(png(255)).json()
    assert again["predictions"][0]["top"][0]["confidence"] == pytest.approx(old["confidence"])
    body = {"checkpoint": service.checkpoint, "calibrator": done["calibrator_id"]}
    assert client.put("/models/digits", json=body).json()["calibrator_id"] == version["id"]


def test_what_is_true_stays(service: Service) -> None:
    give(service, record(service, 200, 0.6), 1, 1, 1, 0, 0)  # three of five are right
    found = look(service)
    assert (found["test"]["rejected"], found["alert"]) == (False, None)
    answer = recalibrate(service).json()
    if not answer["improves"]:
        assert answer["moved"] is False
        assert service.client.get("/models/digits").json()["calibrator_id"] is None
    kept = service.client.get("/models/digits/calibrators").json()["data"]
    assert [each["id"] for each in kept] == [answer["calibrator_id"]]


def test_before_there_is_anything(service: Service) -> None:
    found = look(service)
    assert (found["live"], found["reported"], found["alert"]) == (None, None, None)
    assert found["window"]["predictions"] == found["window"]["labels"] == 0
    assert (found["test"]["evidence"], found["test"]["labels"]) == (1.0, 0)
    record(service, 40)
    unlabelled = look(service)
    assert unlabelled["window"]["predictions"] == 40
    assert unlabelled["live"]["measured"] is None
    assert unlabelled["live"]["expected_accuracy"] == pytest.approx(0.6)


def test_windows(service: Service) -> None:
    first = record(service, 30)
    service.state.predictions.log.flush()
    made = service.client.get(f"/predictions/{first[-1]}").json()["created_at"]
    second = record(service, 20)
    give(service, first, 0)
    give(service, second, 1)
    assert look(service)["window"]["labels"] == 50
    assert look(service, last=20)["live"]["measured"]["accuracy"] == 1.0
    assert look(service, last=20)["window"]["predictions"] == 20
    late = look(service, since="2999-01-01T00:00:00Z")
    assert (late["live"], late["window"]["predictions"]) == (None, 0)
    assert look(service, since=made)["window"]["predictions"] == 50


def test_the_report_stands_beside_it(service: Service) -> None:
    bin = {"lower": 0.0, "upper": 1.0, "count": 5, "confidence": 0.7, "accuracy": 0.8}
    figures = {"images": 5, "accuracy": 0.8, "ece": 0.1, "mean_confidence": 0.7}
    row = {
        "name": "test",
        "in_distribution": True,
        "raw": figures | {"ece": 0.3},
        "calibrated": figures,
        "reliability_raw": [],
        "reliability_calibrated": [bin | {"accuracy_interval": [0.5, 0.9]}],
    }
    add_report(service.context, service.checkpoint, {"datasets": [row]})
    found = look(service)["reported"]
    assert (found["dataset"], found["ece"], found["calibrated"]) == ("test", 0.1, True)
    assert found["reliability"] == [bin | {"accuracy_interval": [0.5, 0.9]}]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "labels"),
        ({"kind": "perturbed_temperature"}, 422, "kind"),
        ({"kind": "x"}, 422, "kind"),
        ({"last": 0}, 422, "last"),
        ({"since": "soon"}, 422, "since"),
        ({"seed": 1}, 422, "seed"),
    ],
)
def test_recalibrations_that_are_refused(
    service: Service, body: Any, status: int, field: str
) -> None:
    give(service, record(service, 4), 0)
    answer = recalibrate(service, **body)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert service.client.get("/models/digits/calibrators").json()["data"] == []


def test_calibrators_of_something_else_are_refused(service: Service) -> None:
    give(service, record(service, 120, 0.9), 0, 1, 1)
    version = recalibrate(service).json()["calibrator_id"]
    other = add_checkpoint(service.context, b"other", ("dark", "bright"))
    for calibrator in (version, "cal_" + 26 * "0", "nonsense", ""):
        body = {"checkpoint": other, "calibrator": calibrator}
        answer = service.client.put("/models/digits", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["field"] == "calibrator"


def test_a_model_that_moved_meanwhile_is_left_alone(service: Service) -> None:
    give(service, record(service, 120, 0.9), 0, 1, 1)
    project = DEFAULT_PROJECT
    stale = Window(project, "digits", service.checkpoint, None, last=1000)
    version = recalibrate(service).json()["calibrator_id"]
    with pytest.raises(Conflict):
        recalibrate_model(service.state.monitoring, stale, None, dry_run=False)
    assert service.client.get("/models/digits").json()["calibrator_id"] == version
    assert len(service.client.get("/models/digits/calibrators").json()["data"]) == 1


def test_models_that_are_not_there(service: Service) -> None:
    client = service.client
    for path in ("calibration", "alerts", "calibrators"):
        assert client.get(f"/models/nobody/{path}").status_code == 404
    assert client.post("/models/nobody/recalibrate", json={}).status_code == 404


# The page -------------------------------------------------------------------------------------


def test_the_page_runs(service: Service) -> None:
    record(service, 120)
    give(service, record(service, 120, 0.9), 0, 1, 1)
    [text] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    opened = re.search(r"^client = httpx\.Client\(.*\n", text, re.MULTILINE)
    assert opened is not None
    names = {"client": service.client, "image": png(255), "httpx": httpx}
    exec(compile(text.replace(opened[0], ""), "monitoring.md", "exec"), names)
    assert names["found"]["test"]["labels"] == 121  # type: ignore[index]
    assert names["tried"]["moved"] is False  # type: ignore[index]


def test_mistakes_that_are_reported_first_are_told(service: Service) -> None:
    """Right answers are confirmed an hour later, wrong ones within minutes."""
    ids = record(service, 200)
    give(service, ids, 1, 0)
    assert look(service)["test"]["delays"]["differ"] is False
    with service.context.database.session() as session:
        for row in session.scalars(select(Label)):
            late = 3600 if row.class_index == 1 else 60
            row.given_at = row.given_at + timedelta(seconds=late)
    found = look(service)["test"]["delays"]
    assert (found["right"], found["wrong"], found["differ"]) == (100, 100, True)
    assert "labels of wrong answers come sooner" in found["text"]
    assert found["median_wrong"] < 120 < 3600 <= found["median_right"]
