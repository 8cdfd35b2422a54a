"""Routes for keys: administrators of a project create, list and revoke them."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.access.callers import Admin, lacks
from api.access.schemas import KeyRequest, KeyView, NewKey
from api.context import ContextDep
from api.web.identifiers import known_shape
from api.web.problems import Problem
from api.web.schemas import Cursor, Limit, Page
from store.access import keys as store

router = APIRouter(prefix="/keys", tags=["keys"])
DAY_SECONDS = 86_400.0


@router.post("", status_code=201)
def create_key(body: KeyRequest, context: ContextDep, caller: Admin, response: Response) -> NewKey:
    """Make a key for this project. Its token is in this answer and in no other.

    That is why an `Idempotency-Key` has no effect here: the answer is not kept. A key whose answer
    got lost is revoked, and another one made.
    """
    if caller.key_id is None:
        # Whoever reaches an open server could otherwise lock its owner out.
        detail = "the first key is made at the server itself: carot keys create"
        raise Problem(403, "forbidden", detail)
    for scope in body.scopes:
        if not caller.may(scope):
            raise lacks(scope)
    days = body.expires_in_days
    with context.database.session() as session:
        key, token = store.create_key(
            session,
            caller.project,
            body.scopes,
            name=body.name,
            expires_seconds=None if days is None else days * DAY_SECONDS,
            max_running_jobs=body.max_running_jobs,
        )
        shown = KeyView.model_validate(key)
    response.headers["Cache-Control"] = "no-store"
    return NewKey(**shown.model_dump(), token=token)


@router.get("")
def list_keys(
    context: ContextDep, caller: Admin, cursor: Cursor = None, limit: Limit = 50
) -> Page[KeyView]:
    """Keys of this project, newest first, with those that are revoked or expired."""
    with context.database.reading() as session:
        page = store.list_keys(session, caller.project, cursor=cursor, limit=limit)
        data = [KeyView.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: str, context: ContextDep, caller: Admin) -> None:
    """Revoke a key, from the next request on. Its sessions and event streams end."""
    with context.database.session() as session:
        store.revoke_key(session, caller.project, known_shape("key", key_id))
