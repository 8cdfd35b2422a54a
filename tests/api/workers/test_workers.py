from __future__ import annotations

from fastapi.testclient import TestClient

from store.jobs.claims import claim_next
from store.queues import QUEUES
from tests.api.helpers import bearer, context_of, new_key
from tests.api.rows import add_worker

JOB = {"kind": "finetune", "model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}


def test_who_is_there(client: TestClient) -> None:
    assert client.get("/workers").json() == {"data": [], "next_cursor": None}
    add_worker(context_of(client), "w1")
    [found] = client.get("/workers").json()["data"]
    assert found["devices"] == [{"name": "Test GPU", "memory_bytes": 80 << 30}]
    assert found["queues"] == ["gpu", "cpu"]
    assert (found["state"], found["job_id"], found["stopped_at"]) == ("idle", None, None)
    assert found["heartbeat_at"].endswith("Z")


def test_jobs_of_others_are_not_named(client: TestClient) -> None:
    own, other = (bearer(new_key(client, project=p)) for p in ("default", "other"))
    worker = add_worker(context_of(client), "w1")
    job = client.post("/jobs", json=JOB, headers=own).json()["id"]
    with context_of(client).database.session() as session:
        assert claim_next(session, "w1", 60.0, QUEUES) is not None
    [mine] = client.get("/workers", headers=own).json()["data"]
    [theirs] = client.get("/workers", headers=other).json()["data"]
    assert (mine["state"], mine["job_id"]) == ("busy", job)
    assert (theirs["state"], theirs["job_id"]) == ("busy", None)
    worker.leave(context_of(client).database)
    [left] = client.get("/workers", headers=own).json()["data"]
    assert left["state"] == "stopped"
