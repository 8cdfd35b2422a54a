"""API keys: created, shown once, looked up, revoked.

A token is `key_….SECRET`: the id finds the row, the secret proves the right to it. The secret is
32 random bytes, so a single SHA-256 is enough to keep: there is nothing to guess from it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.orm import Session

from store.access.scopes import SCOPES, Scope
from store.database import database_now
from store.errors import NotFound
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import ApiKey, BrowserSession

TOKEN = re.compile(r"(key_[0-9a-z]{26})\.([A-Za-z0-9_-]{43})")
SECRET_BYTES = 32
NOTED_SECONDS = 60.0
"""`last_used_at` is no older than this while a key is in use."""
NOBODYS = hashlib.sha256(b"the secret of no key").hexdigest()


class ProvenKey(NamedTuple):
    """A key whose secret was shown and is right."""

    id: str
    project_id: str
    scopes: frozenset[str]
    last_used_at: datetime | None
    expires_at: datetime | None


def any_keys(session: Session) -> bool:
    """Whether a key was ever made; revoked and expired ones count: authentication stays on."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def create_key(
    session: Session,
    project: str,
    scopes: Iterable[Scope],
    *,
    name: str | None = None,
    expires_seconds: float | None = None,
    max_running_jobs: int | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its token, which is nowhere else and cannot be found out later."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    given = set(scopes)
    key = ApiKey(
        id=new_id("key"),
        project_id=project,
        name=name,
        secret_sha256=sha256(secret),
        scopes=[scope for scope in SCOPES if scope in given],
        max_running_jobs=max_running_jobs,
        expires_at=None if expires_seconds is None else database_now(expires_seconds),
    )
    session.add(key)
    session.flush()
    session.refresh(key)
    return key, f"{key.id}.{secret}"


def list_keys(
    session: Session, project: str | None, *, cursor: str | None = None, limit: int = 50
) -> Page[ApiKey]:
    """Keys of a project, or of all, newest first; those that are revoked or expired as well."""
    query = select(ApiKey)
    if project is not None:
        query = query.where(ApiKey.project_id == project)
    return fetch_page(session, query, ApiKey.id, cursor=cursor, limit=limit)


def revoke_key(session: Session, project: str | None, key_id: str) -> ApiKey:
    """Refuse a key from the next request on, and end the sessions that it began.

    Revoking it again changes nothing.

    Raises:
        NotFound: the project has none with this id; without a project: there is none.
    """
    mine = [ApiKey.id == key_id] + ([] if project is None else [ApiKey.project_id == project])
    revoked = (
        update(ApiKey)
        .where(*mine)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, database_now()))
        .returning(ApiKey)
    )
    key = session.scalar(revoked.execution_options(populate_existing=True))
    if key is None:
        raise NotFound("key", key_id)
    session.execute(delete(BrowserSession).where(BrowserSession.key_id == key_id))
    return key


def authenticate(session: Session, token: str) -> ProvenKey | None:
    """The key that a token proves; see `authenticate_all`."""
    return authenticate_all(session.connection(), [token])[token]


def authenticate_all(connection: Connection, tokens: Sequence[str]) -> dict[str, ProvenKey | None]:
    """By token the key that it proves; None for one that is unknown, wrong, revoked or expired.

    Which of these it is can be told neither from the answer nor from the work done for it.
    """
    parts = {token: TOKEN.fullmatch(token) for token in tokens}
    ids = sorted({each[1] for each in parts.values() if each})
    rows = connection.execute(PROVABLE, {"ids": ids}).all() if ids else []
    known = {row.id: row for row in rows}
    return {token: _proven(known, each) for token, each in parts.items()}


def _proven(known: Mapping[str, Any], parts: re.Match[str] | None) -> ProvenKey | None:
    if parts is None:
        return None
    row = known.get(parts[1])
    expected = NOBODYS if row is None else row.secret_sha256
    proven = hmac.compare_digest(sha256(parts[2]), expected)
    if row is None or not proven:
        return None
    return ProvenKey(
        row.id, row.project_id, frozenset(row.scopes), row.last_used_at, row.expires_at
    )


def key_id_of(token: str) -> str | None:
    """Whose secret a token claims to have; None where it has not the form of one."""
    parts = TOKEN.fullmatch(token)
    return None if parts is None else parts[1]


def is_valid(session: Session, key_id: str) -> bool:
    """Whether a key that was proven before still holds."""
    return session.scalar(select(ApiKey.id).where(ApiKey.id == key_id, *valid())) is not None


def has_expired(key: ProvenKey) -> bool:
    """Whether a key that was proven a while ago has expired since, as far as this clock can tell.

    Keys are kept only where the database is SQLite, whose clock is this one.
    """
    return key.expires_at is not None and key.expires_at <= datetime.now(UTC)


def is_noted(key: ApiKey | ProvenKey) -> bool:
    """Whether the last use of a key was stored recently, by this process's clock."""
    used = key.last_used_at
    return used is not None and datetime.now(UTC) - used < timedelta(seconds=NOTED_SECONDS)


def note_use(session: Session, key_id: str) -> None:
    """Store that a key is in use, unless that was just done."""
    stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= database_now(-NOTED_SECONDS))
    session.execute(
        update(ApiKey).where(ApiKey.id == key_id, stale).values(last_used_at=database_now())
    )


def valid() -> tuple[ColumnElement[bool], ...]:
    """What must hold of a key that is neither revoked nor expired."""
    unexpired = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > database_now())
    return ApiKey.revoked_at.is_(None), unexpired


def sha256(text: str) -> str:
    """The hash of a secret, which is all that is stored."""
    return hashlib.sha256(text.encode()).hexdigest()


PROVABLE = select(
    ApiKey.id,
    ApiKey.project_id,
    ApiKey.secret_sha256,
    ApiKey.scopes,
    ApiKey.last_used_at,
    ApiKey.expires_at,
).where(ApiKey.id.in_(bindparam("ids", expanding=True)), *valid())
"""Asked with nearly every request, so it is made once."""
