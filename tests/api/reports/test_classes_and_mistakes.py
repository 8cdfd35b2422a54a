"""Classes and mistakes of reports whose logits are known."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from carot.calibration.metrics.intervals import wilson_interval
from tests.api.helpers import context_of
from tests.api.reports.stored_logits import CLASSES, Row, add_measured, temperature
from tests.api.rows import add_checkpoint, add_report

ROW = Row.of(scale=3.0)
OTHER = Row.of(seed=1, scale=3.0, name="noise", shift="noise")


def test_class_by_class(client: TestClient, tmp_path: Path) -> None:
    report, _ = add_measured(context_of(client), tmp_path, [ROW, OTHER])
    found = client.get(f"/reports/{report}/classes").json()
    assert (found["dataset"], found["confidence"]) == ("test", "raw")
    assert [each["name"] for each in found["data"]] == list(CLASSES)
    answers = ROW.logits.float().argmax(1)
    for k, each in enumerate(found["data"]):
        mine = ROW.labels == k
        right = int((answers[mine] == k).sum())
        assert each["images"] == int(mine.sum())
        assert each["accuracy"] == right / each["images"]
        assert each["accuracy_interval"] == pytest.approx(wilson_interval(right, each["images"]))
        assert each["confused_with"] in set(CLASSES) - {CLASSES[k]}
    shifted = client.get(f"/reports/{report}/classes?dataset=noise").json()
    assert shifted["dataset"] == "noise"
    assert shifted["data"] != found["data"]


def test_the_worst_mistakes(client: TestClient, tmp_path: Path) -> None:
    calibrator = temperature(ROW)
    report, _ = add_measured(context_of(client), tmp_path, [ROW], calibrator=calibrator)
    found = client.get(f"/reports/{report}/mistakes", params={"limit": 7}).json()
    logits = ROW.logits.float()
    shares = calibrator.probabilities(logits)
    wrong = (shares.argmax(1) != ROW.labels).nonzero().squeeze(1)
    order = shares[wrong].amax(1).argsort(descending=True)
    assert (found["images"], found["mistakes"]) == (300, len(wrong))
    assert found["confidence"] == "calibrated"
    for each, i in zip(found["data"], wrong[order[:7]].tolist(), strict=True):
        answer = int(shares[i].argmax())
        assert each["key"] == ROW.keys[i]
        assert each["label"] == CLASSES[int(ROW.labels[i])]
        assert each["prediction"] == CLASSES[answer]
        assert each["confidence"] == pytest.approx(float(shares[i, answer]))
        assert each["raw_confidence"] == pytest.approx(
            float(logits[i].softmax(0)[answer]), rel=1e-5
        )
        assert each["label_confidence"] == pytest.approx(float(shares[i, ROW.labels[i]]))
        assert each["picture"].startswith(f"/reports/{report}/image?dataset=test&key=")
    assert len(client.get(f"/reports/{report}/mistakes").json()["data"]) == 20


def test_images_that_cannot_be_shown_have_no_picture(client: TestClient, tmp_path: Path) -> None:
    row = Row(ROW.logits, ROW.labels, ROW.keys, dataset="webdataset:x.tar")
    report, _ = add_measured(context_of(client), tmp_path, [row])
    found = client.get(f"/reports/{report}/mistakes").json()["data"]
    assert {each["picture"] for each in found} == {None}
    assert client.get(f"/reports/{report}/image", params={"key": row.keys[0]}).status_code == 404


def test_what_is_refused(client: TestClient, tmp_path: Path) -> None:
    report, _ = add_measured(context_of(client), tmp_path, [ROW])
    bare = add_report(context_of(client), add_checkpoint(context_of(client), b"w"), {"version": 1})
    half = add_report(
        context_of(client),
        add_checkpoint(context_of(client), b"w"),
        {"version": 1, "datasets": [ROW.document(None)]},
    )
    for what in ("classes", "mistakes"):
        assert client.get(f"/reports/{report}/{what}?dataset=x").status_code == 422
        assert client.get(f"/reports/{bare}/{what}").status_code == 409
        answer = client.get(f"/reports/{half}/{what}")
        assert answer.status_code == 409
        assert "no logits" in answer.json()["detail"]
        assert client.get(f"/reports/rep_{26 * '0'}/{what}").status_code == 404
    assert client.get(f"/reports/{report}/mistakes?limit=201").status_code == 422
