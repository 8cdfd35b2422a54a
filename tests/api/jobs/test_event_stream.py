"""The live stream of a job: nothing missed, nothing twice, and an end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from store.jobs.claims import Claim, beat, claim, record_event, succeed
from tests.api.helpers import context_of
from tests.api.rows import SPEC

BODY = {"kind": "finetune", "model": {"architecture": "carot-mini"}, "dataset": SPEC.dataset}


def parsed(text: str) -> list[tuple[str, str | None, Any]]:
    """(event, id, data) of each event in a stream; comments are left out."""
    events = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            events.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return events


def submit(client: TestClient) -> str:
    identity: str = client.post("/jobs", json=BODY).json()["id"]
    return identity


def taken(client: TestClient, job: str) -> Claim:
    with context_of(client).database.session() as session:
        held = claim(session, job, "worker", 60)
    assert held is not None
    return held


def test_a_job_that_has_ended(client: TestClient) -> None:
    job = submit(client)
    client.post(f"/jobs/{job}/cancel")
    answer = client.get(f"/jobs/{job}/events/stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parsed(answer.text)
    assert [(name, seq) for name, seq, _ in events] == [("state", "1"), ("state", "2")]
    assert [data["data"]["state"] for _, _, data in events] == ["queued", "cancelled"]
    assert [data for _, _, data in events] == client.get(f"/jobs/{job}/events").json()["data"]


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, "", ["1", "2"]),
        ({"Last-Event-ID": "1"}, "", ["2"]),
        ({"Last-Event-ID": "2"}, "", []),
        ({}, "?after_seq=1", ["2"]),
        ({"Last-Event-ID": "1"}, "?after_seq=0", ["2"]),
    ],
)
def test_taken_up_again(
    client: TestClient, headers: dict[str, str], query: str, expected: list[str]
) -> None:
    job = submit(client)
    client.post(f"/jobs/{job}/cancel")
    text = client.get(f"/jobs/{job}/events/stream{query}", headers=headers).text
    assert [seq for _, seq, _ in parsed(text)] == expected


@pytest.mark.parametrize("identity", ["x", "-1", "1e9", "99999999999"])
def test_ids_that_no_event_had(client: TestClient, identity: str) -> None:
    job = submit(client)
    answer = client.get(f"/jobs/{job}/events/stream", headers={"Last-Event-ID": identity})
    assert answer.status_code == 422


def test_a_running_job_is_followed_to_its_end(client: TestClient) -> None:
    job = submit(client)
    held = taken(client, job)
    database = context_of(client).database
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(client.get, f"/jobs/{job}/events/stream")
        with database.session() as session:
            beat(session, held, 60, {"phase": "training", "step": 3, "total_steps": 9})
            record_event(session, held, "evaluation_done", "test", data={"index": 0})
        assert not following.done()
        with database.session() as session:
            succeed(session, held)
        events = parsed(following.result(20).text)
    numbered = [(name, seq) for name, seq, _ in events if seq]
    assert numbered == [("state", "1"), ("state", "2"), ("evaluation_done", "3"), ("state", "4")]
    progress = [data for name, seq, data in events if name == "progress" and seq is None]
    assert progress[-1]["step"] == 3


def test_more_events_than_one_look_takes(client: TestClient) -> None:
    job = submit(client)
    held = taken(client, job)
    with context_of(client).database.session() as session:
        for i in range(450):
            record_event(session, held, "note", str(i))
        succeed(session, held)
    events = parsed(client.get(f"/jobs/{job}/events/stream").text)
    assert [int(seq or 0) for _, seq, _ in events] == list(range(1, 454))
    page = client.get(f"/jobs/{job}/events", params={"after_seq": 400, "limit": 10}).json()
    assert [e["seq"] for e in page["data"]] == list(range(401, 411))
    assert page["last_seq"] == 410


def test_curves_are_thinned(client: TestClient) -> None:
    from store.jobs.claims import record_metrics

    job = submit(client)
    held = taken(client, job)
    with context_of(client).database.session() as session:
        points = [(i, name, i / 2) for i in range(1, 101) for name in ("loss", "rate")]
        record_metrics(session, held, [*points, (101, "loss", None)])
    curves = client.get(f"/jobs/{job}/metrics").json()["data"]
    assert [(c["name"], len(c["steps"])) for c in curves] == [("loss", 101), ("rate", 100)]
    assert curves[0]["values"][-1] is None
    (loss,) = client.get(f"/jobs/{job}/metrics?names=loss&resolution=5").json()["data"]
    assert loss["steps"] == [1, 26, 51, 76, 101]
    assert client.get(f"/jobs/{job}/metrics?names=nothing").json() == {"data": []}
