"""Checkpoints, reports and aliases over HTTP."""

from __future__ import annotations

import hashlib
import random

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import context_of
from tests.api.rows import add_checkpoint, add_report

CONTENT = random.Random(0).randbytes(300_000)


@pytest.fixture
def checkpoint(client: TestClient) -> str:
    return add_checkpoint(context_of(client), CONTENT)


def test_checkpoints_are_listed(client: TestClient, checkpoint: str) -> None:
    (shown,) = client.get("/checkpoints").json()["data"]
    assert shown["id"] == checkpoint
    assert shown["bytes"] == len(CONTENT)
    assert shown["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert client.get(f"/checkpoints/{checkpoint}").json() == shown
    assert client.get("/checkpoints", params={"job_id": shown["job_id"]}).json()["data"] == [shown]
    assert client.get("/checkpoints?job_id=job_x").status_code == 404


def test_checkpoints_are_searched(client: TestClient) -> None:
    context = context_of(client)
    ids = [add_checkpoint(context, bytes([i]), architecture=f"ViT_{i}") for i in range(3)]

    def found(**query: str | int) -> list[str]:
        return [each["id"] for each in client.get("/checkpoints", params=query).json()["data"]]

    assert found(search="vit_1") == [ids[1]]
    assert found(search=ids[2]) == [ids[2]]
    assert found(search="CAROT") == ids[::-1]
    assert found(search="t%1") == []
    page = client.get("/checkpoints", params={"search": "TEST", "limit": 2}).json()
    assert [each["id"] for each in page["data"]] == [ids[2], ids[1]]
    assert found(search="TEST", cursor=page["next_cursor"]) == [ids[0]]
    answer = client.get("/checkpoints", params={"search": "a\0b"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "search")


def test_a_whole_download(client: TestClient, checkpoint: str) -> None:
    answer = client.get(f"/checkpoints/{checkpoint}/download")
    assert answer.status_code == 200
    assert answer.content == CONTENT
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["etag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    again = {"If-None-Match": answer.headers["etag"]}
    assert client.get(f"/checkpoints/{checkpoint}/download", headers=again).status_code == 304


def test_a_download_is_resumed(client: TestClient, checkpoint: str) -> None:
    path = f"/checkpoints/{checkpoint}/download"
    etag = client.get(path).headers["etag"]
    rest = client.get(path, headers={"Range": "bytes=100000-", "If-Range": etag})
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes 100000-299999/{len(CONTENT)}"
    assert rest.content == CONTENT[100_000:]
    other = client.get(path, headers={"Range": "bytes=100000-", "If-Range": '"old"'})
    assert (other.status_code, len(other.content)) == (200, len(CONTENT))
    tail = client.get(path, headers={"Range": "bytes=-5"})
    assert tail.content == CONTENT[-5:]


def test_a_range_beyond_the_end(client: TestClient, checkpoint: str) -> None:
    answer = client.get(f"/checkpoints/{checkpoint}/download", headers={"Range": "bytes=300000-"})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */300000"
    assert answer.headers["content-type"] == "application/problem+json"


def test_reports(client: TestClient, checkpoint: str) -> None:
    report = add_report(context_of(client), checkpoint, {"answer": 42})
    (shown,) = client.get("/reports").json()["data"]
    assert shown["id"] == report
    assert "document" not in shown
    assert client.get(f"/reports/{report}").json()["document"] == {"answer": 42}


def test_an_alias_moves(client: TestClient, checkpoint: str) -> None:
    other = add_checkpoint(context_of(client), b"other")
    for target in (checkpoint, other):
        answer = client.put("/models/digits", json={"checkpoint": target})
        assert answer.status_code == 200, answer.text
        assert answer.json()["checkpoint_id"] == target
    assert client.get("/models/digits").json()["checkpoint_id"] == other
    assert [a["alias"] for a in client.get("/models").json()["data"]] == ["digits"]
    assert client.delete("/models/digits").status_code == 204
    assert client.get("/models/digits").status_code == 404
    assert client.get(f"/checkpoints/{other}").status_code == 200


@pytest.mark.parametrize("target", ["ckpt_" + "0" * 26, "nonsense", "", "\0", "x" * 500])
def test_an_alias_of_nothing(client: TestClient, target: str) -> None:
    answer = client.put("/models/digits", json={"checkpoint": target})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "checkpoint"


@pytest.mark.parametrize("alias", ["-x", ".hidden", "a b", "x" * 101, "%00"])
def test_aliases_that_are_none(client: TestClient, checkpoint: str, alias: str) -> None:
    answer = client.put(f"/models/{alias}", json={"checkpoint": checkpoint})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "alias"


def test_the_history_of_an_alias(client: TestClient, checkpoint: str) -> None:
    other = add_checkpoint(context_of(client), b"other")
    for target in (checkpoint, other, checkpoint):
        client.put("/models/digits", json={"checkpoint": target})
    first = client.get("/models/digits/history?limit=2").json()
    rest = client.get(f"/models/digits/history?cursor={first['next_cursor']}").json()
    changes = first["data"] + rest["data"]
    assert [each["checkpoint_id"] for each in changes] == [checkpoint, other, checkpoint]
    assert [each["calibrator_id"] for each in changes] == [None, None, None]
    assert rest["next_cursor"] is None
    assert client.get("/models/nobody/history").status_code == 404
