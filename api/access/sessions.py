"""Sessions of browsers: created with a key, shown, ended."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from api.access.callers import COOKIE, AnyKey, Anyone, Caller, unauthenticated
from api.access.hosts import is_foreign
from api.access.rates import address_of
from api.access.schemas import SessionView, SignInRequest
from api.access.state import AccessDep, AccessState
from api.web.problems import Problem
from store.access.keys import authenticate, key_id_of
from store.access.projects import get_project
from store.access.scopes import SCOPES
from store.access.sessions import create_session, csrf_token, end_session, ends_at, find_session
from store.tables import ApiKey

router = APIRouter(prefix="/session", tags=["session"])
HOUR_SECONDS = 3600.0


@router.post("", status_code=201, dependencies=[Anyone])
async def sign_in(
    body: SignInRequest, request: Request, response: Response, state: AccessDep
) -> SessionView:
    """Show a key and get a cookie for it, for some hours or until the key ends.

    Requests with the cookie that change something need the `csrf_token` of this answer as
    `X-CSRF-Token`, and have to come from this server's own pages.
    """
    if is_foreign(request.headers, state.hosts):
        raise Problem(403, "forbidden", "requests from other sites' pages are refused")
    before = request.cookies.get(COOKIE)
    made = await to_thread.run_sync(_sign_in, state, body.key, before)
    if made is None:
        state.rates.note_failure(address_of(request.scope), key_id_of(body.key))
        raise unauthenticated(wrong=True)
    view, token = made
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(state.settings.session_hours * HOUR_SECONDS),
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    response.headers["Cache-Control"] = "no-store"
    return view


@router.get("")
def who_am_i(request: Request, response: Response, state: AccessDep, caller: AnyKey) -> SessionView:
    """Whose key or session this is, and the session's CSRF token: the same for all its pages."""
    response.headers["Cache-Control"] = "no-store"
    token = request.cookies.get(COOKIE) if caller.signed_in else None
    return _of(state, caller, token)


@router.delete("", status_code=204)
def sign_out(request: Request, response: Response, state: AccessDep, caller: AnyKey) -> None:
    """End the session of this browser; a key that is shown with each request has none."""
    token = request.cookies.get(COOKIE)
    if caller.signed_in and token is not None:
        with state.database.session() as session:
            end_session(session, token)
        response.delete_cookie(
            COOKIE,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


def _sign_in(state: AccessState, shown: str, before: str | None) -> tuple[SessionView, str] | None:
    # Looked up without a lock first: strangers shall not make the database write.
    with state.database.reading() as session:
        proven = authenticate(session, shown)
    if proven is None:
        return None
    with state.database.session() as session:
        key = session.get_one(ApiKey, proven.id)
        if before is not None:
            end_session(session, before)
        row, token = create_session(session, key, state.settings.session_hours * HOUR_SECONDS)
        view = SessionView(
            key_id=key.id,
            name=key.name,
            scopes=[scope for scope in SCOPES if scope in key.scopes],
            project=get_project(session, key.project_id).name,
            expires_at=ends_at(row, key),
            csrf_token=csrf_token(token),
        )
    return view, token


def _of(state: AccessState, caller: Caller, token: str | None) -> SessionView:
    with state.database.reading() as session:
        key = None if caller.key_id is None else session.get_one(ApiKey, caller.key_id)
        found = None if token is None else find_session(session, token)
        expires_at = None if key is None else key.expires_at
        return SessionView(
            key_id=caller.key_id,
            name=None if key is None else key.name,
            scopes=[scope for scope in SCOPES if scope in caller.scopes],
            project=get_project(session, caller.project).name,
            expires_at=expires_at if found is None else ends_at(*found),
            csrf_token=None if found is None or token is None else csrf_token(token),
        )
