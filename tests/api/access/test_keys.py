"""Keys over REST, and how the door closes behind the first one."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from store.access.keys import list_keys, revoke_key
from store.database import Database
from store.errors import NotFound
from tests.api.helpers import Start, bearer, context_of, new_key


def test_an_administrator_makes_lists_and_revokes(client: TestClient) -> None:
    admin = bearer(new_key(client, "admin"))
    body = {"name": "ci", "scopes": ["predict"], "expires_in_days": 2, "max_running_jobs": 3}
    made = client.post("/keys", json=body, headers=admin)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key = made.json()
    expected = datetime.now(UTC) + timedelta(days=2)
    assert abs(datetime.fromisoformat(key["expires_at"]) - expected) < timedelta(minutes=5)
    mine = bearer(key["token"])
    assert client.post("/predict", json={}, headers=mine).status_code == 422
    listed = client.get("/keys", headers=admin).json()["data"]
    assert listed[0]["id"] == key["id"]
    assert listed[0]["max_running_jobs"] == 3
    assert listed[0]["last_used_at"] is not None
    assert "token" not in listed[0]
    assert client.delete(f"/keys/{key['id']}", headers=admin).status_code == 204
    assert client.post("/predict", json={}, headers=mine).status_code == 401
    assert client.get("/keys", headers=admin).json()["data"][0]["revoked_at"] is not None


def test_a_new_key_is_of_the_same_project(client: TestClient) -> None:
    admin = bearer(new_key(client, "admin", project="pets"))
    token = client.post("/keys", json={"scopes": ["admin"]}, headers=admin).json()["token"]
    assert client.get("/session", headers=bearer(token)).json()["project"] == "pets"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "scopes"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"scopes": ["predict"], "expires_in_days": 0}, "expires_in_days"),
        ({"scopes": ["predict"], "expires_in_days": 1e300}, "expires_in_days"),
        ({"scopes": ["predict"], "max_running_jobs": 0}, "max_running_jobs"),
        ({"scopes": ["predict"], "max_running_jobs": 2**40}, "max_running_jobs"),
        ({"scopes": ["predict"], "name": "\0"}, "name"),
        ({"scopes": ["predict"], "project_id": "x"}, "project_id"),
    ],
)
def test_bad_wishes(client: TestClient, body: dict[str, object], field: str) -> None:
    admin = bearer(new_key(client, "admin"))
    answer = client.post("/keys", json=body, headers=admin)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_the_answer_with_a_token_is_not_kept(client: TestClient) -> None:
    headers = bearer(new_key(client, "admin")) | {"Idempotency-Key": "k"}
    first, second = (
        client.post("/keys", json={"scopes": ["predict"]}, headers=headers).json() for _ in range(2)
    )
    assert first["id"] != second["id"]
    with context_of(client).database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM idempotency_records")) == 0


# Open and closed ------------------------------------------------------------------------------


def test_without_keys_whoever_is_here_may_do_everything(client: TestClient) -> None:
    assert client.get("/jobs").status_code == 200
    assert client.get("/metrics").status_code == 200
    me = client.get("/session").json()
    assert (me["key_id"], me["project"], me["csrf_token"]) == (None, "default", None)
    assert "admin" in me["scopes"]


def test_a_key_of_another_service_does_no_harm(client: TestClient) -> None:
    assert client.get("/jobs", headers=bearer("key_elsewhere.secret")).status_code == 200


def test_nobody_can_lock_the_owner_of_an_open_server_out(client: TestClient) -> None:
    answer = client.post("/keys", json={"scopes": ["admin"]})
    assert answer.status_code == 403
    assert "carot keys create" in answer.json()["detail"]
    with context_of(client).database.reading() as session:
        assert list_keys(session, None).data == []


def test_the_first_key_closes_a_running_server_for_good(client: TestClient) -> None:
    assert client.get("/jobs").status_code == 200
    token = new_key(client, "admin")
    assert client.get("/jobs").status_code == 401
    assert client.get("/jobs", headers=bearer(token)).status_code == 200
    with context_of(client).database.session() as session:
        revoke_key(session, None, token.partition(".")[0])
    assert client.get("/jobs", headers=bearer(token)).status_code == 401
    assert client.get("/jobs").status_code == 401


def test_a_server_that_starts_with_keys_is_closed(start: Start) -> None:
    new_key(start(), "admin")
    again = start()
    assert again.get("/jobs").status_code == 401


def test_insecure_does_not_open_what_has_keys(start: Start) -> None:
    client = start(insecure=True)
    assert client.get("/jobs").status_code == 200
    new_key(client, "admin")
    assert client.get("/jobs").status_code == 401


def from_address(client: TestClient, host: str) -> TestClient:
    """The same application, asked from elsewhere."""
    return TestClient(client.app, base_url="http://127.0.0.1", client=(host, 40_000))


@pytest.mark.parametrize("host", ["10.0.0.7", "2001:db8::7", "::ffff:10.0.0.7"])
def test_an_open_server_answers_its_own_machine_only(start: Start, host: str) -> None:
    client = start()
    answer = from_address(client, host).get("/jobs")
    assert answer.status_code == 401
    assert "carot keys create" in answer.json()["detail"]
    assert from_address(client, host).get("/health/live").status_code == 200
    for own in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
        assert from_address(client, own).get("/jobs").status_code == 200
    assert from_address(start(insecure=True), host).get("/jobs").status_code == 200
    token = new_key(client)
    assert from_address(client, host).get("/jobs", headers=bearer(token)).status_code == 200


def test_with_keys_any_name_is_answered_but_for_a_list(start: Start) -> None:
    client = start()
    headers = bearer(new_key(client)) | {"Host": "carot.example"}
    assert client.get("/jobs", headers=headers).status_code == 200
    assert client.get("/health/live", headers={"Host": "10.0.0.7"}).status_code == 200
    origin = headers | {"Origin": "https://elsewhere.example"}
    assert client.post("/jobs", json={}, headers=origin).status_code == 422
    listing = start(allowed_hosts="other.example")
    assert listing.get("/jobs", headers=headers).status_code == 421
    assert listing.get("/jobs", headers=headers | {"Host": "other.example"}).status_code == 200


def test_the_store_agrees_that_keys_have_projects(client: TestClient) -> None:
    token = new_key(client, "admin", project="pets")
    with context_of(client).database.session() as session, pytest.raises(NotFound):
        revoke_key(session, "proj_other", token.partition(".")[0])


def test_a_key_that_was_known_a_moment_ago_is_refused_once_it_is_revoked(
    client: TestClient,
) -> None:
    token = new_key(client, "admin")
    elsewhere = Database(context_of(client).settings.database_url)
    for _ in range(3):
        assert client.get("/keys", headers=bearer(token)).status_code == 200
    with elsewhere.session() as session:
        revoke_key(session, None, token.partition(".")[0])
    assert client.get("/keys", headers=bearer(token)).status_code == 401
    elsewhere.close()


@pytest.mark.slow
def test_a_key_that_was_just_let_in_expires_all_the_same(client: TestClient) -> None:
    token = new_key(client, "admin", expires=4.0)
    for _ in range(2):
        assert client.get("/keys", headers=bearer(token)).status_code == 200
    version = context_of(client).database.version()
    time.sleep(4.1)
    assert client.get("/keys", headers=bearer(token)).status_code == 401
    assert context_of(client).database.version() == version  # nothing else has told it
