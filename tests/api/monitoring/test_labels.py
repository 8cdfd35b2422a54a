"""Predictions that were logged, and labels for them, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.monitoring import labels
from api.monitoring.label_schemas import MAX_LABELS
from api.predict import prediction_log
from store.ids import new_id
from tests.api.helpers import Start, bearer, context_of, new_key
from tests.api.predict.test_predict import Service, png
from tests.api.rows import add_checkpoint, add_prediction

UNKNOWN = "pred_" + 26 * "0"


@pytest.fixture
def service(start: Start) -> Service:
    return Service(start())


def predict(service: Service, *levels: int) -> list[str]:
    answer = service.form(*[png(level) for level in levels])
    assert answer.status_code == 200, answer.text
    ids = [each["id"] for each in answer.json()["predictions"]]
    assert all(ids)
    return ids


def label(service: Service, id: str, **body: Any) -> Any:
    return service.client.post(f"/predictions/{id}/label", json=body)


def bulk(service: Service, content: str, kind: str) -> Any:
    return service.client.post("/labels", content=content.encode(), headers={"Content-Type": kind})


def test_what_was_answered_is_found_again(service: Service) -> None:
    answer = service.form(png(255), b"junk", png(0)).json()
    bright, junk, dark = answer["predictions"]
    assert junk["id"] is None
    top = bright["top"][0]
    found = service.client.get(f"/predictions/{bright['id']}").json()
    assert found == {
        "id": bright["id"],
        "model": "digits",
        "checkpoint_id": service.checkpoint,
        "calibrator_id": None,
        "label": "bright",
        "index": 1,
        "confidence": top["confidence"],
        "raw_confidence": top["raw_confidence"],
        "shift": found["shift"],
        "log_rate": 1.0,
        "image": False,
        "created_at": found["created_at"],
        "truth": None,
    }
    listed = service.client.get("/predictions?model=digits").json()["data"]
    assert {each["id"] for each in listed} == {bright["id"], dark["id"]}
    assert service.client.get(f"/predictions/{bright['id']}/image").status_code == 404


def test_a_label_one_by_one(service: Service) -> None:
    first, second = predict(service, 255, 0)
    answer = label(service, first, label="dark")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["status"], body["truth"]["label"], body["truth"]["index"]) == ("stored", "dark", 0)
    assert label(service, first, label=0).json()["status"] == "unchanged"
    refused = label(service, first, label="bright")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    replaced = label(service, first, label="bright", replace=True).json()
    assert (replaced["status"], replaced["truth"]["label"]) == ("replaced", "bright")
    assert replaced["truth"]["changed_at"] is not None
    lists = {
        flag: [p["id"] for p in service.client.get(f"/predictions?labelled={flag}").json()["data"]]
        for flag in ("true", "false")
    }
    assert lists == {"true": [first], "false": [second]}


@pytest.mark.parametrize(
    ("id", "body", "status", "field"),
    [
        (UNKNOWN, {"label": "dark"}, 404, None),
        ("nonsense", {"label": "dark"}, 404, None),
        (None, {"label": "grey"}, 422, "label"),
        (None, {"label": 2}, 422, "label"),
        (None, {"label": -1}, 422, "label"),
        (None, {"label": True}, 422, "label"),
        (None, {"label": None}, 422, "label"),
        (None, {}, 422, "label"),
        (None, {"label": "dark", "sure": True}, 422, "sure"),
    ],
)
def test_labels_that_are_refused(
    service: Service, id: str | None, body: Any, status: int, field: str | None
) -> None:
    [known] = predict(service, 255)
    answer = service.client.post(f"/predictions/{id or known}/label", json=body)
    assert answer.status_code == status, answer.text
    if field is not None:
        assert answer.json()["errors"][0]["field"].startswith(field)
    assert service.client.get(f"/predictions/{known}").json()["truth"] is None


def test_many_at_once_each_for_itself(service: Service) -> None:
    first, second, third = predict(service, 255, 0, 128)
    label(service, third, label="dark")
    items = [
        {"id": first, "label": "dark"},
        {"id": UNKNOWN, "label": "dark"},
        {"id": second, "label": "grey"},
        {"id": "\0", "label": "dark"},
        {"id": second},
        "nonsense",
        {"id": second, "label": 1},
        {"id": second, "label": "bright"},
        {"id": third, "label": "bright"},
        {"id": third, "label": "bright", "replace": True},
    ]
    answer = bulk(service, json.dumps(items), "application/json")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert [each["status"] for each in body["data"]] == [
        "stored", "refused", "refused", "refused", "refused", "refused", "stored", "unchanged",
        "refused", "replaced",
    ]  # fmt: skip
    counts = {name: body[name] for name in ("stored", "unchanged", "replaced", "refused")}
    assert counts == {"stored": 2, "unchanged": 1, "replaced": 1, "refused": 6}
    errors = [(e["error"]["field"], e["code"]) for e in body["data"] if e["status"] == "refused"]
    assert errors == [
        ("1.id", "not_found"),
        ("2.label", "invalid_request"),
        ("3.id", "not_found"),
        ("4.label", "invalid_request"),
        ("5", "invalid_request"),
        ("8.label", "conflict"),
    ]


def test_lines_of_json(service: Service) -> None:
    first, second = predict(service, 255, 0)
    lines = [json.dumps({"id": first, "label": "dark"}), "", "{", json.dumps([second])]
    body = bulk(service, "\n".join(lines) + "\r\n", "application/x-ndjson").json()
    assert [each["status"] for each in body["data"]] == ["stored", "refused", "refused"]


def test_csv_by_name_and_by_index(service: Service) -> None:
    first, second, third = predict(service, 255, 0, 128)
    named = f"\ufeffid,label,replace\r\n{first},dark,\r\n{second},bright,true\r\n{third}\r\n"
    body = bulk(service, named, "text/csv; charset=utf-8").json()
    assert [each["status"] for each in body["data"]] == ["stored", "stored", "refused"]
    indexed = f"index,id\n1,{third}\nx,{third}\n-1,{third}\n"
    body = bulk(service, indexed, "text/csv").json()
    assert [each["status"] for each in body["data"]] == ["stored", "refused", "refused"]
    assert service.client.get(f"/predictions/{third}").json()["truth"]["label"] == "bright"


def test_numbers_in_csv_are_names_where_a_column_says_so(client: TestClient) -> None:
    """Classes that are called "1" and "0": a name is never taken for an index."""
    context = context_of(client)
    checkpoint = add_checkpoint(context, b"x", ("1", "0"))
    id = add_prediction(context, checkpoint, alias="x")
    headers = {"Content-Type": "text/csv"}
    client.post("/labels", content=f"id,label\n{id},1\n", headers=headers)
    assert client.get(f"/predictions/{id}").json()["truth"]["index"] == 0


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        ("{", "application/json", 400),
        ("[" * 100_000, "application/json", 400),
        ("{}", "application/json", 422),
        ("[]", "application/json", 422),
        (json.dumps([{"id": UNKNOWN, "label": 0}] * (MAX_LABELS + 1)), "application/json", 422),
        ("", "application/x-ndjson", 422),
        ("", "text/csv", 422),
        ("id,label\n", "text/csv", 422),
        ("id,label,index\nx,y,1\n", "text/csv", 422),
        ("id,class\nx,y\n", "text/csv", 422),
        ('id,label\n"x,y\n', "text/csv", 422),
        ("x", "text/plain", 415),
    ],
)
def test_bodies_that_are_no_labels(service: Service, content: str, kind: str, status: int) -> None:
    answer = bulk(service, content, kind)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_what_is_logged_can_be_chosen(service: Service) -> None:
    client = service.client
    alias = client.patch("/models/digits", json={"log_rate": 0}).json()
    assert (alias["log_rate"], alias["log_images"]) == (0.0, False)
    assert service.form(png(255)).json()["predictions"][0]["id"] is None
    client.put("/models/digits", json={"checkpoint": service.checkpoint})
    assert client.get("/models/digits").json()["log_rate"] == 0
    body = {"checkpoint": service.checkpoint, "log_rate": 1, "log_images": True}
    client.put("/models/digits", json=body)
    [id] = predict(service, 255)
    answer = client.get(f"/predictions/{id}/image")
    assert answer.content == png(255)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert client.get(f"/predictions/{id}").json()["image"] is True
    for bad in ({"log_rate": 1.5}, {"log_rate": -0.1}, {"log_rate": "x"}, {"rate": 1}):
        assert client.patch("/models/digits", json=bad).status_code == 422
    assert client.patch("/models/nobody", json={"log_rate": 1}).status_code == 404


def test_predictions_of_a_checkpoint_are_not_logged(service: Service) -> None:
    files = [("images", ("0.png", png(255)))]
    answer = service.client.post("/predict", files=files, data={"checkpoint": service.checkpoint})
    assert answer.json()["predictions"][0]["id"] is None
    assert service.client.get("/predictions").json()["data"] == []


def test_what_outlives_its_alias_and_its_weights(service: Service) -> None:
    """A label may come when the model has long been replaced."""
    [id] = predict(service, 255)
    assert service.client.delete("/models/digits").status_code == 204
    assert service.client.delete(f"/checkpoints/{service.checkpoint}").status_code == 204
    assert label(service, id, label="bright").json()["truth"]["label"] == "bright"


def test_a_predicting_key_may_label_and_not_read(service: Service) -> None:
    [id] = predict(service, 255)
    token = new_key(service.client, "predict")
    headers = bearer(token)
    answer = service.client.post(
        f"/predictions/{id}/label", json={"label": "dark"}, headers=headers
    )
    assert answer.status_code == 200
    assert service.client.get(f"/predictions/{id}", headers=headers).status_code == 403
    with context_of(service.client).database.reading() as session:
        from store.tables import Label

        assert session.get_one(Label, id).key_id == token.partition(".")[0]


def test_a_label_that_overtakes_its_prediction(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_log, "LINGER_SECONDS", 0.3)
    monkeypatch.setattr(labels, "WRITTEN_SECONDS", 60.0)
    service, other = Service(start()), start()
    first, second, third = predict(service, 0, 0, 0)
    answer = other.post(f"/predictions/{first}/label", json={"label": "bright"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["truth"]["label"] == "bright"
    [fourth] = predict(service, 0)
    items = [{"id": id, "label": "dark"} for id in (second, fourth, UNKNOWN, third)]
    body = other.post("/labels", json=items).json()
    assert [each["code"] for each in body["data"]] == [None, None, "not_found", None]
    test = service.client.get("/models/digits/calibration").json()["test"]
    assert test["labels"] == 4


def test_a_young_prediction_is_not_waited_for_without_end(service: Service) -> None:
    [known] = predict(service, 0)
    items = [{"id": id, "label": "dark"} for id in (new_id("pred"), known)]
    body = service.client.post("/labels", json=items).json()
    assert [each["code"] for each in body["data"]] == ["not_found", None]


def test_who_labels_what_is_long_gone_does_not_wait(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "PAUSE_SECONDS", 3600.0)
    assert label(service, UNKNOWN, label="dark").status_code == 404
