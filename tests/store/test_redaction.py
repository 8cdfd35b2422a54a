"""Secrets by their shape and by their name, and what is none."""

from __future__ import annotations

import json

import pytest

from store.redaction import HIDDEN, redacted, without_secrets

KEY = "key_01jd3v8m9x2k4q6r8t0v2w4y6z"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://carot:hunter2@db:5432/carot", "hunter2"),
        ("postgresql+psycopg://carot:p@ss/wo:rd@db/carot is away", "p@ss/wo:rd"),
        ("redis://:hunter2@redis:6379/0", "hunter2"),
        ("two: redis://:first1@a, redis://u:second2@b", "first1"),
        ("two: redis://:first1@a, redis://u:second2@b", "second2"),
        ("git clone https://ghp_sometoken@example.org/x", "ghp_sometoken"),
        ("postgresql://db/carot?user=me&password=hunter2&sslmode=require", "hunter2"),
        ("host=db user=me password=hunter2 dbname=x", "hunter2"),
        ("password='with spaces in it' host=db", "with spaces in it"),
        ('{"password": "hunter2", "user": "me"}', "hunter2"),
        (f"GET /jobs by {KEY}.abc-DEF_123", "abc-DEF_123"),
        (f"Authorization: Bearer {KEY}.abc-DEF_123", "abc-DEF_123"),
        ("authorization: Basic dXNlcjpodW50ZXIy", "dXNlcjpodW50ZXIy"),
        ("{'authorization': 'Bearer abc.def-123'}", "abc.def-123"),
        ("[(b'authorization', b'Bearer abc.def-123'), (b'host', b'x')]", "abc.def-123"),
        ("bearer abc.def-123~+/=", "abc.def-123"),
        ("Cookie: carot_session=q1w2e3; theme=dark", "q1w2e3"),
        ("(b'cookie', b'carot_session=q1w2e3')", "q1w2e3"),
        ("signs with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw==", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("CAROT_BROKER_URL=redis://:hunter2@redis", "hunter2"),
        ("POSTGRES_PASSWORD=hunter2", "hunter2"),
    ],
)
def test_secrets_are_hidden_whatever_is_around_them(text: str, secret: str) -> None:
    hidden = redacted(text)
    assert secret not in hidden
    assert HIDDEN in hidden
    # Where it stands in a longer text, and beside others.
    assert secret not in redacted(f"failed: {text}\nagain: {text}\n")
    assert secret not in redacted(json.dumps({"a": [text]}))
    assert secret not in json.dumps(without_secrets({"outer": [{"inner": text}, ValueError(text)]}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job_01jd3v8m9x2k4q6r8t0v2w4y6z: step 10 of 20",
        KEY,
        "http://127.0.0.1:8000/jobs?state=queued",
        "sqlite:////data/carot.db",
        "mail to people@example.org: http://example.org/",
        "redis://redis:6379/0 cannot be reached",
        "a token of 512 bytes; the secret is out",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_what_is_around_a_secret_stays() -> None:
    assert redacted("at postgresql://carot:x1@db:5432/carot, twice") == (
        f"at postgresql://carot:{HIDDEN}@db:5432/carot, twice"
    )
    assert redacted(f"by {KEY}.abc, ok") == f"by {KEY}.{HIDDEN}, ok"


@pytest.mark.parametrize(
    "name",
    ["password", "POSTGRES_PASSWORD", "secret", "api_key", "Authorization", "cookie", "csrf"],
)
def test_names_hide_whatever_they_name(name: str) -> None:
    assert without_secrets("plain", name) == HIDDEN
    assert without_secrets({name: {"deep": "plain"}}) == {name: HIDDEN}
    assert without_secrets({name: None}) == {name: None}


@pytest.mark.parametrize("name", ["job_id", "key_id", "tokenizer", "max_tokens", "secretary"])
def test_names_that_only_sound_alike(name: str) -> None:
    assert without_secrets("plain", name) == "plain"


def test_values_become_what_json_has() -> None:
    circle: dict[str, object] = {}
    circle["again"] = circle
    values = {"n": 1, "x": 0.5, "yes": True, "none": None, "set": {1}, "raw": b"key", "o": object}
    for value in (values, circle, [circle]):
        json.dumps(without_secrets(value))
    assert without_secrets(values)["n"] == 1
    assert without_secrets(values)["yes"] is True
