"""The same creating request twice makes one thing and gives one answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Header, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.context import Context
from store import idempotency as store

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any unique text. The same key with the same request gives the first answer "
        "again; with another request 422; while the first is still being answered 409.",
    ),
]


@dataclass(frozen=True)
class Answer:
    """A response before it is sent."""

    status: int
    body: BaseModel
    headers: dict[str, str] = field(default_factory=dict)


def fingerprint(body: BaseModel) -> str:
    """The hash of a request's body, whatever its spacing and order of keys."""
    text = json.dumps(body.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def once(
    context: Context, key: str | None, route: str, print_: str, work: Callable[[], Answer]
) -> Response:
    """Do `work`, or give the answer that was given to this key before.

    Raises:
        IdempotencyConflict: the key belongs to another request.
        IdempotencyInFlight: the first request with this key is still being answered.
    """
    if key is None:
        answer = work()
        return _response(answer.status, answer.body.model_dump(mode="json"), answer.headers)
    with context.database.session() as session:
        stored = store.begin(session, key, route, print_)
    if stored is not None:
        headers = {**stored["headers"], "Idempotent-Replayed": "true"}
        return _response(stored["status"], stored["body"], headers)
    try:
        answer = work()
        body = answer.body.model_dump(mode="json")
        with context.database.session() as session:
            store.finish(
                session,
                key,
                route,
                {"status": answer.status, "body": body, "headers": answer.headers},
            )
    except BaseException:
        # A request that failed made nothing: the key is free for a corrected one.
        with context.database.session() as session:
            store.abandon(session, key, route)
        raise
    return _response(answer.status, body, answer.headers)


def _response(status: int, body: Any, headers: dict[str, str]) -> Response:
    return JSONResponse(body, status_code=status, headers=headers)
