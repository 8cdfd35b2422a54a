"""Sets whose threshold follows the labels of a model, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.helpers import Start
from tests.api.monitoring.test_monitoring import give, look, record, watched
from tests.api.predict.test_predict import OK, Service, png
from tests.api.protocol_v2.test_protocol import PATH, request, values


@pytest.fixture
def service(start: Start) -> Service:
    return watched(start())


def refused(answer: Any, field: str) -> str:
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == field
    return str(error["message"])


def online(service: Service, coverage: float = 0.9) -> Any:
    [found] = [each for each in look(service)["online"] if each["coverage"] == coverage]
    return found


def test_from_too_few_labels_to_sets_that_follow_them(service: Service) -> None:
    ids = record(service, 101, 0.9)
    give(service, ids[:99], 0, 1, 1)
    assert "there are 99" in refused(service.form(png(255), set_method="online"), "set_method")
    assert service.passes == [], "no image was looked at"
    give(service, ids[99:100], 0)
    now = online(service)
    body = service.form(png(255), png(130), set_method="online").json()
    for each in body["predictions"]:
        assert (each["set"]["method"], each["set"]["n"]) == ("online", 100)
        assert each["set"]["threshold"] == now["threshold"]
        assert each["set"]["coverage"] == 0.9
    # A third of the answers is wrong: only both classes hold nine labels of ten.
    assert [each["set"]["size"] for each in body["predictions"]] == [2, 2]
    assert body["limits"]["set_method"] == "online"
    assert "of 100 labels so far" in body["limits"]["guarantee"]
    give(service, ids[100:], 1)
    after = service.form(png(255), set_method="online").json()["predictions"][0]["set"]
    assert after["threshold"] == online(service)["threshold"] < now["threshold"]
    at_95 = service.form(png(255), set_method="online", coverage="0.95").json()
    assert at_95["predictions"][0]["set"]["threshold"] == online(service, 0.95)["threshold"]


def test_what_cannot_be_followed_is_refused(service: Service) -> None:
    give(service, record(service, 100, 0.9), 1)
    asked = {"model": "digits", "images": [OK], "set_method": "online"}
    assert "0.9 and 0.95" in refused(service.json(**asked, coverage=0.8), "coverage")
    no_model = {"checkpoint": service.checkpoint, "images": [OK], "set_method": "online"}
    assert "name one in `model`" in refused(service.json(**no_model), "set_method")
    assert service.passes == []
    assert service.json(**asked).status_code == 200


def test_the_inference_protocol_has_them_as_well(service: Service) -> None:
    body = request(OK, parameters={"set_method": "online"}, outputs=[{"name": "set"}])
    assert service.client.post(PATH, json=body).status_code == 422
    give(service, record(service, 100, 0.9), 0, 1)
    [made] = values(service.client.post(PATH, json=body))["set"]
    assert json.loads(made) == ["bright", "dark"], "half of the answers are wrong"


def test_labels_of_what_served_before_do_not_count(service: Service) -> None:
    give(service, record(service, 100, 0.9), 0, 1)
    assert service.form(png(255), set_method="online").status_code == 200
    assert service.client.delete("/models/digits").status_code == 204
    service.client.put("/models/digits", json={"checkpoint": service.checkpoint}).raise_for_status()
    assert "there are 0" in refused(service.form(png(255), set_method="online"), "set_method")
