"""Keys, projects and sessions of browsers."""

from __future__ import annotations

import hashlib
import hmac
from datetime import timedelta

import pytest
from sqlalchemy import text

from store.access.keys import (
    any_keys,
    authenticate,
    create_key,
    is_noted,
    is_valid,
    list_keys,
    note_use,
    revoke_key,
)
from store.access.projects import ensure_project, find_project, get_project
from store.access.scopes import SCOPES, allows
from store.access.sessions import (
    create_session,
    csrf_token,
    end_session,
    ends_at,
    find_session,
    proves_origin,
)
from store.database import Database
from store.errors import NotFound
from store.tables import DEFAULT_PROJECT, ApiKey, BrowserSession

HOUR = 3600.0


def made(database: Database, expires: float | None = None, project: str = DEFAULT_PROJECT) -> str:
    with database.session() as session:
        return create_key(session, project, ["predict"], expires_seconds=expires)[1]


def id_of(token: str) -> str:
    return token.partition(".")[0]


def test_a_token_proves_its_key_and_only_its_hash_is_kept(database: Database) -> None:
    with database.session() as session:
        assert not any_keys(session)
        key, token = create_key(
            session, DEFAULT_PROJECT, ["predict", "jobs:read"], name="n", max_running_jobs=2
        )
        assert key.scopes == ["jobs:read", "predict"]
        assert any_keys(session)
    identity, _, secret = token.partition(".")
    with database.reading() as session:
        found = authenticate(session, token)
        assert found is not None
        assert (found.id, found.project_id) == (key.id, DEFAULT_PROJECT)
        assert found.scopes == frozenset(key.scopes)
        kept = session.get_one(ApiKey, identity)
        assert (kept.name, kept.max_running_jobs) == ("n", 2)
        assert kept.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
        row = repr(session.execute(text("SELECT * FROM api_keys")).one())
    assert secret not in row


def test_tokens_differ(database: Database) -> None:
    secrets = {made(database).partition(".")[2] for _ in range(5)}
    assert len(secrets) == 5
    assert {len(secret) for secret in secrets} == {43}


@pytest.mark.parametrize("how", ["wrong", "unknown", "swapped", "malformed", "bare id", "padded"])
def test_other_tokens_prove_nothing(database: Database, how: str) -> None:
    token, other = made(database), made(database)
    identity, _, secret = token.partition(".")
    given = {
        "wrong": f"{identity}.{'A' * 43}",
        "unknown": f"key_{'0' * 26}.{secret}",
        "swapped": f"{identity}.{other.partition('.')[2]}",
        "malformed": "x' OR 1=1 --",
        "bare id": identity,
        "padded": f"{token}\n",
    }[how]
    with database.reading() as session:
        assert authenticate(session, given) is None


def test_what_ended_proves_nothing(database: Database) -> None:
    expired, revoked, valid = made(database, -1), made(database), made(database, HOUR)
    with database.session() as session:
        first = revoke_key(session, DEFAULT_PROJECT, id_of(revoked)).revoked_at
    with database.session() as session:
        assert revoke_key(session, None, id_of(revoked)).revoked_at == first
    with database.reading() as session:
        found = [authenticate(session, token) is not None for token in (expired, revoked, valid)]
        assert found == [False, False, True]
        assert [is_valid(session, id_of(t)) for t in (expired, revoked, valid)] == found
        assert any_keys(session)


def test_ended_keys_are_keys(database: Database) -> None:
    token = made(database, -1)
    with database.session() as session:
        revoke_key(session, None, id_of(token))
        assert any_keys(session)


def test_work_is_the_same_for_every_wrong_key(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    expired, revoked, valid = made(database, -1), made(database), made(database)
    with database.session() as session:
        revoke_key(session, None, id_of(revoked))
    unknown = f"key_{'0' * 26}.{'A' * 43}"
    wrong = f"{id_of(valid)}.{'A' * 43}"
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for token in (expired, revoked, unknown, wrong, valid):
        compared.clear()
        with database.reading() as session:
            proven = authenticate(session, token) is not None
        [(given, expected)] = compared
        assert len(given) == len(expected) == 64
        assert proven is (given == expected) is (token == valid)


def test_use_is_noted_once_a_minute(database: Database) -> None:
    token = made(database)
    with database.session() as session:
        key = session.get_one(ApiKey, id_of(token))
        assert not is_noted(key)
        note_use(session, key.id)
        session.refresh(key)
        first = key.last_used_at
        assert first is not None
        assert is_noted(key)
        note_use(session, key.id)
        session.refresh(key)
        assert key.last_used_at == first
        key.last_used_at = first - timedelta(seconds=61)
        session.flush()
        assert not is_noted(key)
        note_use(session, key.id)
        session.refresh(key)
        assert key.last_used_at >= first


def test_keys_of_other_projects_are_unknown(database: Database) -> None:
    with database.session() as session:
        other = ensure_project(session, "other").id
    mine, theirs = made(database), made(database, project=other)
    with database.session() as session:
        assert [key.id for key in list_keys(session, other).data] == [id_of(theirs)]
        assert [key.id for key in list_keys(session, None).data] == [id_of(theirs), id_of(mine)]
        with pytest.raises(NotFound):
            revoke_key(session, DEFAULT_PROJECT, id_of(theirs))
    with database.reading() as session:
        assert is_valid(session, id_of(theirs))


def test_projects_are_made_once(database: Database) -> None:
    with database.session() as session:
        assert ensure_project(session, "default").id == DEFAULT_PROJECT
        made = ensure_project(session, "pets")
        assert ensure_project(session, "pets").id == made.id
        assert find_project(session, "pets").id == made.id
        assert get_project(session, made.id).name == "pets"
        for look in (find_project, get_project):
            with pytest.raises(NotFound):
                look(session, "nobody's")


def test_admin_implies_the_others() -> None:
    for wanted in SCOPES:
        assert allows({"admin"}, wanted)
        assert allows({wanted}, wanted)
        assert not allows(set(SCOPES) - {wanted, "admin"}, wanted)


# Sessions -------------------------------------------------------------------------------------


def signed_in(database: Database, key: str, seconds: float = HOUR) -> str:
    with database.session() as session:
        return create_session(session, session.get_one(ApiKey, id_of(key)), seconds)[1]


def test_a_session_stands_for_its_key(database: Database) -> None:
    key = made(database)
    token = signed_in(database, key)
    with database.reading() as session:
        found = find_session(session, token)
        assert found is not None
        sign_in, row = found
        assert row.id == id_of(key)
        assert proves_origin(sign_in, csrf_token(token))
        assert not proves_origin(sign_in, token)
        assert not proves_origin(sign_in, "")
        assert find_session(session, token[:-1] + "!") is None
        assert find_session(session, sign_in.token_sha256) is None
        kept = repr(session.execute(text("SELECT * FROM sessions")).one())
    for secret in (token, csrf_token(token)):
        assert secret not in kept
    with database.session() as session:
        end_session(session, token)
        assert find_session(session, token) is None


def test_a_session_ends_with_its_key_or_before(database: Database) -> None:
    revoked, expired, lasting = made(database), made(database, HOUR), made(database)
    tokens = [signed_in(database, key) for key in (revoked, expired, lasting)]
    over = signed_in(database, lasting, -1)
    with database.session() as session:
        key = session.get_one(ApiKey, id_of(expired))
        found = find_session(session, tokens[1])
        assert found is not None
        assert key.expires_at is not None
        assert ends_at(*found) == min(key.expires_at, found[0].expires_at)
        revoke_key(session, None, id_of(revoked))
        key.expires_at = key.created_at - timedelta(seconds=1)
    with database.reading() as session:
        alive = [find_session(session, token) is not None for token in (*tokens, over)]
        assert alive == [False, False, True, False]
        assert session.get(BrowserSession, hashlib.sha256(tokens[0].encode()).hexdigest()) is None


def test_sessions_that_ended_are_removed_by_the_next(database: Database) -> None:
    key = made(database)
    signed_in(database, key, -1)
    signed_in(database, key)
    with database.reading() as session:
        assert session.query(BrowserSession).count() == 1
