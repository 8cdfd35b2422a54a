"""What a key leaves behind: no secret anywhere, and no stream that outlives it."""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import MetaData, select

from store.access.keys import revoke_key
from tests.api.access.test_authentication import JOB
from tests.api.helpers import bearer, context_of, new_key


def test_no_row_and_no_log_holds_a_secret(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = new_key(client, "admin")
    headers = bearer(admin) | {"Idempotency-Key": "k"}
    made = client.post("/keys", json={"scopes": ["predict"]}, headers=headers).json()["token"]
    signed_in = client.post("/session", json={"key": made})
    cookie = signed_in.cookies["carot_session"]
    csrf = signed_in.json()["csrf_token"]
    client.cookies.clear()
    client.get("/jobs", headers=bearer(made))
    client.get("/jobs", headers=bearer(made + "x"))
    client.post("/session", json={"key": made, "surplus": 1})
    secrets = [token.partition(".")[2] for token in (admin, made)] + [cookie, csrf]
    told = "".join(capsys.readouterr())
    assert "request" in told
    context = context_of(client)
    tables = MetaData()
    tables.reflect(context.database.engine)
    with context.database.reading() as session:
        rows = [
            repr(row)
            for table in tables.sorted_tables
            for row in session.execute(select(table)).all()
        ]
    assert "secret_sha256" in tables.tables["api_keys"].columns
    assert len(rows) > 3
    for secret in secrets:
        assert secret not in told
        assert all(secret not in row for row in rows)


def test_errors_do_not_repeat_a_key(client: TestClient) -> None:
    token = new_key(client, "predict")
    headers = bearer(token)
    for answer in (
        client.get("/jobs", headers=headers),
        client.post("/session", json={"key": token, "surplus": 1}),
        client.post("/session", json={"key": [token]}),
        client.post("/session", json={"key": token + "x" * 300}),
        client.post("/session", json={"key": token[:-1]}),
    ):
        assert answer.status_code >= 400
        assert token.partition(".")[2][:-1] not in answer.text


def test_a_stream_ends_with_its_key(client: TestClient) -> None:
    token = new_key(client)
    job = client.post("/jobs", json=JOB, headers=bearer(token)).json()
    answers = []

    def listen() -> None:
        answers.append(client.get(f"/jobs/{job['id']}/events/stream", headers=bearer(token)))

    listener = threading.Thread(target=listen)
    listener.start()
    with context_of(client).database.session() as session:
        revoke_key(session, None, token.partition(".")[0])
    listener.join(30)
    assert not listener.is_alive()
    assert answers[0].status_code in (200, 401)
