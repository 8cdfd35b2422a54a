"""The live stream of a job: nothing missed, nothing twice, and an end."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from store.jobs.claims import Claim, beat, claim, record_event, succeed
from tests.api.helpers import Start, bearer, context_of, new_key, state_of
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
    assert events.pop() == ("end", "2", {"state": "cancelled"})
    assert [(name, seq) for name, seq, _ in events] == [("state", "1"), ("state", "2")]
    assert [data["data"]["state"] for _, _, data in events] == ["queued", "cancelled"]
    assert [data for _, _, data in events] == client.get(f"/jobs/{job}/events").json()["data"]


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, "", ["1", "2", "2"]),
        ({"Last-Event-ID": ""}, "", ["1", "2", "2"]),
        ({"Last-Event-ID": ""}, "?after_seq=1", ["2", "2"]),
        ({"Last-Event-ID": "1"}, "", ["2", "2"]),
        ({}, "?after_seq=1", ["2", "2"]),
        ({}, "?after_seq=2", ["2"]),
        ({"Last-Event-ID": "1"}, "?after_seq=0", ["2", "2"]),
    ],
)
def test_taken_up_again(
    client: TestClient, headers: dict[str, str], query: str, expected: list[str]
) -> None:
    job = submit(client)
    client.post(f"/jobs/{job}/cancel")
    text = client.get(f"/jobs/{job}/events/stream{query}", headers=headers).text
    assert [seq for _, seq, _ in parsed(text)] == expected


def test_who_has_seen_the_end_is_told_to_stay_away(client: TestClient) -> None:
    """An EventSource connects again after every end but a 204."""
    job = submit(client)
    path = f"/jobs/{job}/events/stream"
    client.post(f"/jobs/{job}/cancel")
    last = parsed(client.get(path).text)[-1][1]
    again = client.get(path, headers={"Last-Event-ID": str(last)})
    assert (again.status_code, again.text) == (204, "")
    client.post(f"/jobs/{job}/retry")
    client.post(f"/jobs/{job}/cancel")
    events = parsed(client.get(path, headers={"Last-Event-ID": str(last)}).text)
    assert [(name, seq) for name, seq, _ in events] == [
        ("state", "3"),
        ("state", "4"),
        ("end", "4"),
    ]
    unknown = f"/jobs/job_{'0' * 26}/events/stream"
    assert client.get(unknown, headers={"Last-Event-ID": "2"}).status_code == 404


def _wait_for_streams(client: TestClient, count: int) -> None:
    deadline = time.monotonic() + 30
    while state_of(client).jobs.streams.count < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_streams_are_bounded_for_each_key_and_in_all(start: Start) -> None:
    client = start(streams=2, streams_per_key=1)
    job = submit(client)
    path = f"/jobs/{job}/events/stream"
    one, other, third = (bearer(new_key(client)) for _ in range(3))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.get, path, headers=one)
        _wait_for_streams(client, 1)
        refused = client.get(path, headers=one)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert "1 event streams of this caller" in refused.json()["detail"]
        second = pool.submit(client.get, path, headers=other)
        _wait_for_streams(client, 2)
        refused = client.get(path, headers=third)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"] == "5"
        client.post(f"/jobs/{job}/cancel", headers=third)
        for each in (first, second):
            assert parsed(each.result(30).text)[-1][0] == "end"
    assert [client.get(path, headers=each).status_code for each in (one, one, third)] == [200] * 3


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
    assert numbered.pop() == ("end", "4")
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
    assert [int(seq or 0) for _, seq, _ in events] == [*range(1, 454), 453]
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
