"""Webhooks over HTTP, up to a receiver on this machine."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from standardwebhooks import Webhook as Verifier

from store.ids import new_id
from store.tables import Base, Project
from store.webhooks.webhooks import MAX_PER_PROJECT, create_webhook, disable_webhook
from tests.api.helpers import Start, context_of
from tests.api.jobs.test_jobs import SPEC, submit
from tests.api.webhooks.receiver import receiver, until

ALLOWED = {"webhook_allow": {"127.0.0.0/8"}, "webhook_poll_seconds": 0.02}
NOBODY = "http://127.0.0.1:9/hook"


@pytest.fixture
def client(start: Start) -> TestClient:
    return start(**ALLOWED)


def create(client: TestClient, url: str = NOBODY, *states: str, **headers: str) -> dict[str, Any]:
    answer = client.post("/webhooks", json={"url": url, "states": states}, headers=headers)
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/webhooks/{webhook['id']}"
    return webhook


def test_the_secret_is_shown_once(client: TestClient) -> None:
    made = create(client, NOBODY, "failed", "succeeded", "failed")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["url"] == NOBODY
    assert made["states"] == ["failed", "succeeded"]
    shown = client.get(f"/webhooks/{made['id']}")
    listed = client.get("/webhooks")
    assert shown.json() == made
    assert listed.json() == {"data": [made], "next_cursor": None}
    assert secret not in shown.text + listed.text


def test_events_arrive_signed(client: TestClient) -> None:
    with receiver() as running:
        webhook = create(client, f"http://127.0.0.1:{running.port}/hook")
        job = submit(client, SPEC | {"name": "first"})
        client.post(f"/jobs/{job['id']}/cancel")
        received = running.wait_for(2)
        path = f"/webhooks/{webhook['id']}/deliveries"
        until(lambda: all(d["state"] == "delivered" for d in client.get(path).json()["data"]))
    messages = [each.verified(webhook["secret"]) for each in received]
    in_order = sorted(messages, key=lambda message: message["data"]["seq"])
    assert [message["type"] for message in in_order] == ["job.queued", "job.cancelled"]
    assert {message["data"]["job"]["id"] for message in messages} == {job["id"]}
    newest, oldest = client.get(path).json()["data"]
    assert (newest["type"], newest["seq"], newest["job_id"]) == ("job.cancelled", 2, job["id"])
    assert (newest["status"], newest["attempts"], newest["error"]) == (204, 1, None)
    assert {newest["id"], oldest["id"]} == {each.id for each in received}


def test_a_test_event(client: TestClient) -> None:
    with receiver() as running:
        webhook = create(client, f"http://127.0.0.1:{running.port}/", "failed")
        answer = client.post(f"/webhooks/{webhook['id']}/test")
        assert answer.status_code == 202
        delivery = answer.json()
        assert (delivery["type"], delivery["state"]) == ("webhook.test", "pending")
        [received] = running.wait_for(1)
    assert received.id == delivery["id"]
    assert received.verified(webhook["secret"])["data"] == {"webhook": {"id": webhook["id"]}}


def test_pages_of_deliveries(client: TestClient) -> None:
    webhook = create(client)
    ids = [client.post(f"/webhooks/{webhook['id']}/test").json()["id"] for _ in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        parameters = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/webhooks/{webhook['id']}/deliveries", params=parameters).json()
        seen += [each["id"] for each in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_failures_are_told(start: Start) -> None:
    client = start(**ALLOWED, webhook_retry_seconds=(3600.0,))
    webhook = create(client)
    client.post(f"/webhooks/{webhook['id']}/test")
    path = f"/webhooks/{webhook['id']}/deliveries"
    until(lambda: bool(client.get(path).json()["data"][0]["error"]))
    [delivery] = client.get(path).json()["data"]
    assert (delivery["state"], delivery["attempts"], delivery["status"]) == ("pending", 1, None)
    assert delivery["error"].startswith("no answer")
    assert delivery["next_attempt_at"] > delivery["created_at"]
    assert client.get(f"/webhooks/{webhook['id']}").json()["failing_since"]


def test_a_webhook_is_disabled_and_enabled(client: TestClient) -> None:
    webhook = create(client)
    with context_of(client).database.session() as session:
        disable_webhook(session, webhook["id"], "tired")
    path = f"/webhooks/{webhook['id']}"
    assert client.get(path).json()["disabled_reason"] == "tired"
    refused = client.post(f"{path}/test")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    for _ in range(2):  # enabling twice: the same answer
        enabled = client.post(f"{path}/enable")
        assert (enabled.status_code, enabled.json()["disabled_at"]) == (200, None)
    assert client.post(f"{path}/test").status_code == 202


def test_a_deleted_webhook_is_gone(client: TestClient) -> None:
    webhook = create(client)
    client.post(f"/webhooks/{webhook['id']}/test")
    assert client.delete(f"/webhooks/{webhook['id']}").status_code == 204
    assert client.delete(f"/webhooks/{webhook['id']}").status_code == 404
    assert client.get("/webhooks").json()["data"] == []


def test_the_same_request_again_makes_no_second(client: TestClient) -> None:
    first = create(client, **{"Idempotency-Key": "k"})
    assert create(client, **{"Idempotency-Key": "k"}) == {**first, "secret": "***"}
    other = client.post("/webhooks", json={"url": f"{NOBODY}/2"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert len(client.get("/webhooks").json()["data"]) == 1
    assert Verifier(first["secret"])


def test_a_secret_is_stored_with_its_webhook_only(client: TestClient) -> None:
    secret = create(client, **{"Idempotency-Key": "k"})["secret"]
    with context_of(client).database.reading() as session:
        tables = Base.metadata.tables.values()
        holding = [
            table.name
            for table in tables
            if any(secret in repr(tuple(row)) for row in session.execute(select(table)))
        ]
    assert holding == ["webhooks"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://127.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "https://user:password@93.184.216.34/",
        "https://93.184.216.34:25/",
        "https://no-such-name.invalid/",
        "ftp://93.184.216.34/",
        "nonsense",
        "",
        "https://93.184.216.34/" + "x" * 2000,
    ],
)
def test_urls_that_are_refused_name_the_field(client: TestClient, url: str) -> None:
    answer = client.post("/webhooks", json={"url": url}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["url"]
    assert client.get("/webhooks").json()["data"] == []
    create(client, **{"Idempotency-Key": "k"})  # what made nothing leaves the key free


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": NOBODY, "states": ["lost"]}, "states.0"),
        ({"url": NOBODY, "states": "failed"}, "states"),
        ({"url": NOBODY, "secret": "whsec_AAAA"}, "secret"),
    ],
)
def test_bodies_that_are_refused(client: TestClient, body: dict[str, object], field: str) -> None:
    answer = client.post("/webhooks", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_nothing_private_is_allowed_unless_it_is_told(start: Start) -> None:
    answer = start().post("/webhooks", json={"url": NOBODY})
    assert answer.status_code == 422
    assert "CAROT_WEBHOOK_ALLOW" in answer.json()["detail"]


def test_too_many(client: TestClient) -> None:
    for _ in range(MAX_PER_PROJECT):
        create(client)
    answer = client.post("/webhooks", json={"url": NOBODY})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_what_is_not_there_or_somebody_else_s(client: TestClient) -> None:
    with context_of(client).database.session() as session:
        session.add(Project(id=new_id("proj"), name="theirs"))
        session.flush()
        project = session.query(Project).filter_by(name="theirs").one().id
        theirs = create_webhook(session, project, NOBODY, []).id
    for identity in (theirs, new_id("hook"), "hook_1", "..%2f"):
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("POST", "/test"),
            ("POST", "/enable"),
            ("GET", "/deliveries"),
        ):
            answer = client.request(method, f"/webhooks/{identity}{path}")
            assert answer.status_code == 404, (identity, method, path)
    assert client.get("/webhooks").json()["data"] == []
