"""Browsers: signing in, what a cookie may do, and which pages may use it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from store.access.keys import revoke_key
from tests.api.helpers import Start, bearer, context_of, new_key

OWN = {"Sec-Fetch-Site": "same-origin"}


def sign_in(client: TestClient, *scopes: Any) -> dict[str, Any]:
    """What the answer tells; the client keeps the cookie."""
    answer = client.post("/session", json={"key": new_key(client, *scopes)})
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_signing_in_gives_a_cookie_that_scripts_cannot_read(client: TestClient) -> None:
    token = new_key(client, "jobs:read")
    answer = client.post("/session", json={"key": token})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert re.match(r"carot_session=[A-Za-z0-9_-]{43};", cookie)
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={12 * 3600}"} <= parts
    assert "secure" not in parts
    told = answer.json()
    assert told["key_id"] == token.partition(".")[0]
    assert (told["scopes"], told["project"]) == (["jobs:read"], "default")
    assert client.cookies["carot_session"] not in answer.text


def test_over_https_the_cookie_is_secure(client: TestClient) -> None:
    secure = TestClient(client.app, base_url="https://127.0.0.1")
    answer = secure.post("/session", json={"key": new_key(client)})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_session_sees_what_its_key_may(client: TestClient) -> None:
    told = sign_in(client, "jobs:read")
    assert client.get("/jobs").status_code == 200
    assert client.get("/models").status_code == 403
    assert client.get("/session").json() == told


def test_a_session_is_over_when_it_is_signed_out(client: TestClient) -> None:
    told = sign_in(client)
    token = client.cookies["carot_session"]
    headers = OWN | {"X-CSRF-Token": told["csrf_token"]}
    answer = client.delete("/session", headers=headers)
    assert answer.status_code == 204
    assert "carot_session" not in client.cookies
    client.cookies["carot_session"] = token
    assert client.get("/jobs").status_code == 401


def test_a_session_ends_with_its_key(client: TestClient) -> None:
    told = sign_in(client)
    assert client.get("/jobs").status_code == 200
    with context_of(client).database.session() as session:
        revoke_key(session, None, told["key_id"])
    assert client.get("/jobs").status_code == 401


def test_a_session_ends_by_itself(start: Start) -> None:
    client = start(session_hours=1e-9)
    client.post("/session", json={"key": new_key(client)})
    assert client.get("/jobs").status_code == 401


def test_signing_in_again_ends_the_session_before(client: TestClient) -> None:
    sign_in(client)
    before = client.cookies["carot_session"]
    sign_in(client)
    assert client.cookies["carot_session"] != before
    client.cookies.clear()
    client.cookies["carot_session"] = before
    assert client.get("/jobs").status_code == 401


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://127.0.0.1"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"}, True),
        ({}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "http://127.0.0.1.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[::1"}, False),
    ],
)
@pytest.mark.parametrize("csrf", ["right", "wrong", "none", "of another session"])
def test_writing_needs_the_token_and_an_own_page(
    client: TestClient, headers: dict[str, str], allowed: bool, csrf: str
) -> None:
    other = sign_in(client)["csrf_token"]
    client.cookies.clear()
    told = sign_in(client)
    tokens = {"right": told["csrf_token"], "wrong": "x" * 64, "of another session": other}
    given = headers | ({"X-CSRF-Token": tokens[csrf]} if csrf in tokens else {})
    answer = client.post("/jobs", json={}, headers=given)
    assert answer.status_code == (422 if allowed and csrf == "right" else 403), answer.text
    assert client.get("/jobs", headers=headers).status_code == 200, "reading needs neither"


def test_the_proxys_name_is_an_own_page_too(start: Start) -> None:
    client = start(allowed_hosts="carot.example")
    told = sign_in(client)
    headers = {"Origin": "https://carot.example", "X-CSRF-Token": told["csrf_token"]}
    assert client.post("/jobs", json={}, headers=headers).status_code == 422


def test_a_key_needs_no_csrf_token_and_comes_before_the_cookie(client: TestClient) -> None:
    sign_in(client)
    key = bearer(new_key(client))
    evil = {"Origin": "https://evil.example"}
    assert client.post("/jobs", json={}, headers=key | evil).status_code == 422
    assert client.get("/session", headers=key).json()["csrf_token"] is None
    assert client.get("/jobs", headers=bearer("key_x.y")).status_code == 401
    assert client.delete("/session", headers=key).status_code == 204
    proxys = {"Authorization": "Basic eDp5"}
    assert client.get("/jobs", headers=proxys).status_code == 200
    assert client.post("/jobs", json={}, headers=proxys | evil).status_code == 403
    assert client.get("/jobs").status_code == 200, "the cookie's session is still there"


@pytest.mark.parametrize("key", ["", "x", f"key_{'0' * 26}.{'A' * 43}", "key_\0"])
def test_wrong_keys_get_no_session(client: TestClient, key: str) -> None:
    new_key(client)
    answer = client.post("/session", json={"key": key})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_other_sites_cannot_sign_anybody_in(client: TestClient) -> None:
    body = {"key": new_key(client)}
    evil = {"Origin": "https://evil.example"}
    assert client.post("/session", json=body, headers=evil).status_code == 403
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/session", json=body, headers=cross).status_code == 403
    assert client.post("/session", json=body, headers=OWN).status_code == 201


def test_strangers_send_little(client: TestClient) -> None:
    new_key(client)
    answer = client.post("/session", json={"key": "x" * 10_000})
    assert answer.status_code == 413


def test_cookies_that_are_none_of_ours(client: TestClient) -> None:
    new_key(client)
    for cookie in (
        "carot_session=",
        "carot_session=x",
        "other=1",
        "=;;=",
        "carot_session=" + "A" * 43,
    ):
        assert client.get("/jobs", headers={"Cookie": cookie}).status_code == 401
