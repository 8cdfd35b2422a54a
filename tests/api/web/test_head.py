"""HEAD: what GET would answer, without its body, on every route."""

from __future__ import annotations

import re

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from tests.api.helpers import Start, archive, bearer, context_of, new_key, state_of
from tests.api.rows import add_checkpoint

CHANGING = {"x-request-id", "date", "ratelimit"}
"""Headers that differ between two equal requests."""
SPEC = {"kind": "finetune", "model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}


def made(client: TestClient) -> dict[str, str]:
    """Something behind the parameters of routes; every other id is unknown."""
    headers = {"content-type": "application/zip"}
    dataset = client.post("/datasets?name=pets", content=archive(), headers=headers).json()["id"]
    job = client.post("/jobs", json=SPEC).json()["id"]
    client.post(f"/jobs/{job}/cancel")
    return {
        "dataset_id": dataset,
        "job_id": job,
        "checkpoint_id": add_checkpoint(context_of(client), b"x"),
        "version": state_of(client).dashboard.charts_version,
    }


def test_every_route_with_get_has_head(client: TestClient) -> None:
    known = made(client)
    walked: dict[str, int] = {}
    for route in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]
        if "GET" not in (route.methods or ()):
            continue
        path = re.sub(r"{(\w+)(:\w+)?}", lambda m: known.get(m[1], "unknown"), str(route.path))
        get, head = client.get(path), client.head(path)
        walked[path] = head.status_code
        assert (head.status_code, head.content) == (get.status_code, b""), path
        assert set(head.headers) == set(get.headers), path
        differing = {name for name in get.headers if get.headers[name] != head.headers[name]}
        # Time passes between the two, and is measured.
        measured = {"content-length"} if path == "/metrics" else set()
        assert differing <= CHANGING | measured, path
    assert len(walked) > 40
    job = f"/jobs/{known['job_id']}"
    for path in ("/", "/jobs", "/openapi.json", "/metrics", job, f"{job}/events/stream"):
        assert walked[path] == 200


def test_a_stream_is_not_held_by_head(client: TestClient) -> None:
    job = client.post("/jobs", json=SPEC).json()["id"]
    answer = client.head(f"/jobs/{job}/events/stream")  # of a job that does not end
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert state_of(client).jobs.streams.count == 0


def test_head_of_what_only_post_has(client: TestClient) -> None:
    answer = client.head("/labels")
    assert (answer.status_code, answer.content) == (405, b"")


@pytest.mark.parametrize(("path", "status"), [("/jobs", 401), ("/health/live", 200), ("/", 200)])
def test_head_asks_for_the_same_keys(start: Start, path: str, status: int) -> None:
    client = start()
    token = new_key(client)
    assert client.head(path).status_code == status
    assert client.head(path, headers=bearer(token)).status_code == 200
