"""Checkpoints and data sets that are deleted over HTTP, and what is said of them afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.datasets.bundled import bundled_digits
from tests.api.helpers import archive, context_of
from tests.api.rows import add_checkpoint, add_report


@pytest.fixture
def checkpoint(client: TestClient) -> str:
    """One whose job has ended."""
    id = add_checkpoint(context_of(client), b"weights")
    job_id = client.get(f"/checkpoints/{id}").json()["job_id"]
    client.post(f"/jobs/{job_id}/cancel")
    return id


def job_with(checkpoint: str) -> dict[str, Any]:
    return {"kind": "evaluate", "model": {"checkpoint": checkpoint}, "dataset": "builtin:digits"}


def test_a_deleted_checkpoint_is_known_but_gone(client: TestClient, checkpoint: str) -> None:
    report = add_report(context_of(client), checkpoint, {"answer": 42})
    before = client.get(f"/checkpoints/{checkpoint}").json()
    assert before["deleted_at"] is None
    assert client.delete(f"/checkpoints/{checkpoint}").status_code == 204
    after = client.get(f"/checkpoints/{checkpoint}").json()
    assert after.pop("deleted_at") is not None
    before.pop("deleted_at")
    assert after == before
    assert client.get("/checkpoints").json()["data"] == []
    assert client.get(f"/reports/{report}").json()["checkpoint_id"] == checkpoint
    download = client.get(f"/checkpoints/{checkpoint}/download")
    body = {"checkpoint": checkpoint, "images": ["AAAA"]}
    for answer in (download, client.post("/predict", json=body)):
        assert answer.status_code == 410
        assert answer.json()["code"] == "gone"
        assert checkpoint in answer.json()["detail"]
    again = client.delete(f"/checkpoints/{checkpoint}")
    assert again.status_code == 204, "what was asked for is so"
    assert list((context_of(client).settings.data_dir / "artifacts").glob("??/*")) == []


def test_nobody_names_a_deleted_checkpoint(client: TestClient, checkpoint: str) -> None:
    client.delete(f"/checkpoints/{checkpoint}")
    job = client.post("/jobs", json=job_with(checkpoint))
    alias = client.put("/models/digits", json={"checkpoint": checkpoint})
    for answer, field in ((job, "model.checkpoint"), (alias, "checkpoint")):
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["field"] == field
        assert "has been deleted" in error["message"]


def test_what_an_alias_points_to_stays(client: TestClient, checkpoint: str) -> None:
    client.put("/models/digits", json={"checkpoint": checkpoint})
    answer = client.delete(f"/checkpoints/{checkpoint}")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "digits" in answer.json()["detail"]
    client.delete("/models/digits")
    assert client.delete(f"/checkpoints/{checkpoint}").status_code == 204


def test_what_a_job_still_needs_stays(client: TestClient) -> None:
    checkpoint = add_checkpoint(context_of(client), b"weights", bundled_digits().classes)
    job = client.post("/jobs", json=job_with(checkpoint)).json()
    answer = client.delete(f"/checkpoints/{checkpoint}")
    assert answer.status_code == 409
    assert job["id"] in answer.json()["detail"]
    client.post(f"/jobs/{job['id']}/pause")
    assert client.delete(f"/checkpoints/{checkpoint}").status_code == 409
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.delete(f"/checkpoints/{checkpoint}").status_code == 204


def test_a_deleted_data_set(client: TestClient) -> None:
    headers = {"Content-Type": "application/zip"}
    dataset = client.post("/datasets", content=archive(), headers=headers).json()
    spec = {
        "kind": "finetune",
        "model": {"architecture": "carot-mini"},
        "dataset": dataset["id"],
        "training": {"batch_size": 2},
    }
    job = client.post("/jobs", json=spec)
    assert job.status_code == 201, job.text
    refused = client.delete(f"/datasets/{dataset['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    client.post(f"/jobs/{job.json()['id']}/cancel")
    assert client.delete(f"/datasets/{dataset['id']}").status_code == 204
    assert client.get(f"/datasets/{dataset['id']}").json()["deleted_at"] is not None
    assert client.get("/datasets").json()["data"] == []
    answer = client.post("/jobs", json=spec)
    assert answer.status_code == 422
    assert "has been deleted" in answer.json()["errors"][0]["message"]
    assert list((context_of(client).settings.data_dir / "artifacts").glob("??/*")) == []


@pytest.mark.parametrize("path", ["/checkpoints/ckpt_", "/datasets/ds_"])
def test_deleting_what_is_not_there(client: TestClient, path: str) -> None:
    assert client.delete(path + 26 * "0").status_code == 404
    assert client.delete(path).status_code == 404
