"""Sessions of browsers: a cookie that stands for a key for some hours.

The CSRF token is made from the session's token, so that every tab of a browser has the same and
nothing has to be kept to tell it again; who reads it cannot find the session's token from it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from store.access.keys import SECRET_BYTES, sha256, valid
from store.database import database_now
from store.tables import ApiKey, BrowserSession

TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def create_session(session: Session, key: ApiKey, seconds: float) -> tuple[BrowserSession, str]:
    """A new session of a key that was just proven, and its token; sessions that ended are removed.

    It ends `seconds` from now, or with its key.
    """
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= database_now()))
    token = secrets.token_urlsafe(SECRET_BYTES)
    row = BrowserSession(
        token_sha256=sha256(token),
        key_id=key.id,
        csrf_sha256=sha256(csrf_token(token)),
        expires_at=database_now(seconds),
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row, token


def find_session(session: Session, token: str) -> tuple[BrowserSession, ApiKey] | None:
    """The session of a token and its key; None when either has ended."""
    if not TOKEN.fullmatch(token):
        return None
    row = session.execute(
        select(BrowserSession, ApiKey)
        .join(ApiKey, ApiKey.id == BrowserSession.key_id)
        .where(
            BrowserSession.token_sha256 == sha256(token),
            BrowserSession.expires_at > database_now(),
            *valid(),
        )
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def end_session(session: Session, token: str) -> None:
    """Delete a session, if there is one."""
    session.execute(delete(BrowserSession).where(BrowserSession.token_sha256 == sha256(token)))


def ends_at(sign_in: BrowserSession, key: ApiKey) -> datetime:
    """When a session ends by itself."""
    return min(sign_in.expires_at, key.expires_at or sign_in.expires_at)


def csrf_token(token: str) -> str:
    """What the pages of a session prove that they could read an answer of this server with."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def proves_origin(sign_in: BrowserSession, given: str) -> bool:
    """Whether `given` is the CSRF token of this session; compared in constant time."""
    return hmac.compare_digest(sha256(given), sign_in.csrf_sha256)
