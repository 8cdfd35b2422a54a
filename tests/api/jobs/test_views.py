"""What the API says of jobs besides their rows, and that it says nothing twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from fastapi.testclient import TestClient
from sqlalchemy import event

from store.jobs.claims import claim
from store.tables import Checkpoint, Job
from tests.api.helpers import Start, context_of
from tests.api.rows import add_checkpoint, add_report

JOB = {"kind": "finetune", "model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}


def test_a_list_that_is_the_same_is_not_sent_again(client: TestClient) -> None:
    job = client.post("/jobs", json=JOB).json()
    for path in ("/jobs", f"/jobs/{job['id']}", f"/jobs/{job['id']}/metrics"):
        first = client.get(path)
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        again = client.get(path, headers={"If-None-Match": f'"x", W/{etag}'})
        assert (again.status_code, again.content) == (304, b""), path
    tags = {path: client.get(path).headers["etag"] for path in ("/jobs", f"/jobs/{job['id']}")}
    client.post(f"/jobs/{job['id']}/pause")
    for path, etag in tags.items():
        changed = client.get(path, headers={"If-None-Match": etag})
        assert changed.status_code == 200, path
        assert changed.headers["etag"] != etag


def test_what_changed_is_304_until_something_does(client: TestClient) -> None:
    job = client.post("/jobs", json=JOB).json()
    query = {"updated_after": job["updated_at"]}
    first = client.get("/jobs", params=query)
    assert first.json()["data"] == []
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get("/jobs", params=query, headers=known).status_code == 304
    client.post(f"/jobs/{job['id']}/pause")
    [changed] = client.get("/jobs", params=query, headers=known).json()["data"]
    assert changed["state"] == "paused"


def test_states_methods_and_words_are_filtered(client: TestClient) -> None:
    one = client.post("/jobs", json=JOB | {"name": "Wanted"}).json()["id"]
    two = client.post("/jobs", json=JOB | {"preset": "tracer"}).json()["id"]
    client.post(f"/jobs/{two}/cancel")

    def found(**query: str | list[str]) -> list[str]:
        return [job["id"] for job in client.get("/jobs", params=query).json()["data"]]

    assert found(state=["queued", "running"]) == [one]
    assert found(state=["queued", "cancelled"]) == [two, one]
    assert found(method="tracer") == [two]
    assert found(search="wanted") == [one]
    assert found(search=two) == [two]
    assert found(search="\u00e9") == []
    assert client.get("/jobs", params={"search": "a\0b"}).status_code == 422


def test_place_in_line_and_heartbeat(client: TestClient) -> None:
    context = context_of(client)
    first, second = (client.post("/jobs", json=JOB).json() for _ in range(2))
    assert (first["queue_position"], second["queue_position"]) == (1, 2)
    assert first["heartbeat_at"] is None
    with context.database.session() as session:
        claim(session, first["id"], "worker", context.settings.lease_seconds)
    running, waiting = (client.get(f"/jobs/{job['id']}").json() for job in (first, second))
    assert (running["queue_position"], waiting["queue_position"]) == (None, 1)
    with context.database.reading() as session:
        row = session.get_one(Job, first["id"])
        assert row.started_at is not None
        beaten = row.started_at
    shown = datetime.fromisoformat(running["heartbeat_at"])
    assert abs(shown - beaten) < timedelta(seconds=2)


def test_headlines_come_from_the_checkpoint_or_else_the_report(client: TestClient) -> None:
    context = context_of(client)
    raw = {"accuracy": 0.7, "ece": 0.2}
    outside = {"accuracy": 0.4, "ece": 0.3, "calibrated_ece": None}
    document = {
        "datasets": [
            {"in_distribution": False, "raw": {"accuracy": 0.1, "ece": 0.1}, "calibrated": None},
            {"in_distribution": True, "raw": raw, "calibrated": {"accuracy": 0.7, "ece": 0.05}},
        ],
        "ood_mean": outside,
    }
    ids = []
    for content in (b"made", b"measured"):
        checkpoint = add_checkpoint(context, content)
        report = add_report(context, checkpoint, document)
        with context.database.session() as session:
            row = session.get_one(Checkpoint, checkpoint)
            row.metrics = {"in_distribution": {"accuracy": 0.9, "ece": 0.03}, "ood_mean": None}
            session.get_one(Job, row.job_id).report_id = report
            ids.append(row.job_id)
            if content == b"measured":  # a job that made no checkpoint
                row.job_id = ids[0]
    made, measured = (client.get(f"/jobs/{each}").json()["headline"] for each in ids)
    assert (made["id_accuracy"], made["id_ece"], made["ood_accuracy"]) == (0.9, 0.03, None)
    assert measured == {
        "id_accuracy": 0.7,
        "id_ece": 0.2,
        "id_calibrated_ece": 0.05,
        "ood_accuracy": 0.4,
        "ood_ece": 0.3,
        "ood_calibrated_ece": None,
    }
    listed = {job["id"]: job["headline"] for job in client.get("/jobs").json()["data"]}
    assert [listed[each] for each in ids] == [made, measured], "read once, told again"


def test_a_page_costs_the_same_few_queries_whatever_its_length(start: Start) -> None:
    client = start(sweep_seconds=3600)  # which asks for jobs too
    engine = context_of(client).database.engine
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    def cost() -> int:
        statements.clear()
        assert client.get("/jobs").status_code == 200
        return len([each for each in statements if "jobs" in each])

    client.post("/jobs", json=JOB)
    few = cost()
    for _ in range(20):
        client.post("/jobs", json=JOB)
    assert cost() == few <= 3
