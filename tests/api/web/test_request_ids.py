"""A job can be followed back to the request that asked for it, and forth."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.api.jobs.test_jobs import SPEC
from tests.conftest import Lines


def test_job_and_request_know_each_other(client: TestClient, lines: Lines) -> None:
    answer = client.post("/jobs", json=SPEC, headers={"X-Request-ID": "req-1"})
    assert answer.status_code == 201
    job_id = answer.json()["id"]
    created = lines.one(event="job_created")
    assert (created["job_id"], created["request_id"]) == (job_id, "req-1")
    assert lines.one(event="request", path="/jobs")["request_id"] == "req-1"
    [first] = client.get(f"/jobs/{job_id}/events").json()["data"]
    assert first["data"] == {"state": "queued", "request_id": "req-1"}


def test_keys_that_are_shown_are_not_written_down(client: TestClient, lines: Lines) -> None:
    token = "key_01jd3v8m9x2k4q6r8t0v2w4y6z.abc-DEF_123"
    headers = {"Authorization": f"Bearer {token}", "X-Request-ID": token}
    client.get("/jobs", headers=headers)
    client.get(f"/models/{token}", headers=headers)
    assert lines.all(event="request")
    assert "abc-DEF_123" not in lines.stream.getvalue()
