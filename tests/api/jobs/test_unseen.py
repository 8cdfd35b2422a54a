"""Jobs that hold classes out, or measure things of other classes."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.api.jobs.test_jobs import SPEC, changed, submit, upload


def test_classes_that_are_to_stay_unseen(client: TestClient) -> None:
    whole, part = upload(client, 40, ("ant", "bee", "cat")), upload(client, 40, ("ant", "cat"))
    body = SPEC | {"dataset": whole, "training": {"batch_size": 8}, "unseen": ["bee"]}
    own = {"name": "test", "dataset": whole, "in_distribution": True}
    rows = [own, {"name": "part", "dataset": part}]
    job = submit(client, changed("evaluation.datasets", rows) | body)
    assert job["spec"]["unseen"] == ["bee"]
    for unseen, message in (
        (["cow"], "cow"),
        (["ant", "bee"], "1 of 3"),
        (["bee", "bee"], "twice"),
    ):
        answer = client.post("/jobs", json=body | {"unseen": unseen})
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["field"] == "unseen"
        assert message in error["message"]


def test_a_data_set_of_other_things(client: TestClient) -> None:
    known, other = upload(client, 40), upload(client, 40, ("cat", "fish"))
    body = {"dataset": known, "training": {"batch_size": 8}}
    own = {"name": "test", "dataset": known, "in_distribution": True}
    row = {"name": "other", "dataset": other, "unseen": True}
    submit(client, changed("evaluation.datasets", [own, row]) | body)
    for rows, field in (
        ([own, row | {"dataset": known}], "evaluation.datasets.1.dataset"),
        ([own, row | {"restrict": True}], "evaluation.datasets.1.unseen"),
        ([row], "evaluation.datasets"),
        ([own | {"in_distribution": False}, row], "evaluation.datasets"),
        ([own, row | {"name": "unseen"}], "unseen"),
    ):
        unseen = {"unseen": ["dog"]} if field == "unseen" else {}
        answer = client.post("/jobs", json=changed("evaluation.datasets", rows) | body | unseen)
        assert answer.status_code == 422
        assert [each["field"] for each in answer.json()["errors"]] == [field]
