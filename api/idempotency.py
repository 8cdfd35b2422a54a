"""The same creating request twice makes one thing and gives one answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.callers import known_caller
from api.context import Context
from store import idempotency as store

Given = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any unique text. The same key with the same request gives the first answer "
        "again; with another request 422; while the first is still being answered 409.",
    ),
]


@dataclass(frozen=True)
class ProjectKey:
    """An idempotency key; the same text means another thing in another project."""

    project: str
    text: str


def _key(request: Request, given: Given = None) -> ProjectKey | None:
    caller = known_caller(request)
    return None if given is None or caller is None else ProjectKey(caller.project, given)


IdempotencyKey = Annotated[ProjectKey | None, Depends(_key)]


@dataclass(frozen=True)
class Answer:
    """A response before it is sent."""

    status: int
    body: BaseModel
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """It as sent."""
        body = self.body.model_dump(mode="json")
        return JSONResponse(body, status_code=self.status, headers=self.headers)


@dataclass(frozen=True)
class Turn:
    """One request's turn at a key. `replay` is the answer that was given before, if one was."""

    key: ProjectKey | None
    route: str
    replay: Response | None = None

    def keep(self, session: Session, answer: Answer) -> None:
        """Store the answer in the transaction that makes what it tells of: both or neither."""
        if self.key is not None:
            body = answer.body.model_dump(mode="json")
            response = {"status": answer.status, "body": body, "headers": answer.headers}
            store.finish(session, self.key.project, self.key.text, self.route, response)


def fingerprint(body: BaseModel) -> str:
    """The hash of a request's body, whatever its spacing and order of keys."""
    text = json.dumps(body.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def turn(
    context: Context,
    key: ProjectKey | None,
    route: str,
    print_: str,
    abandoned_seconds: float = store.ABANDONED_SECONDS,
) -> Iterator[Turn]:
    """Take the key for the block; when the block raises, the key is free again.

    Args:
        abandoned_seconds: how long the block may take; a key that is held for longer belongs to
            nobody any more.

    Raises:
        IdempotencyConflict: the key belongs to another request.
        IdempotencyInFlight: the first request with this key is still being answered.
    """
    if key is None:
        yield Turn(None, route)
        return
    with context.database.session() as session:
        stored = store.begin(
            session, key.project, key.text, route, print_, abandoned_seconds=abandoned_seconds
        )
    if stored is not None:
        headers = {**stored["headers"], "Idempotent-Replayed": "true"}
        replay = JSONResponse(stored["body"], status_code=stored["status"], headers=headers)
        yield Turn(key, route, replay)
        return
    try:
        yield Turn(key, route)
    except BaseException:
        with context.database.session() as session:
            store.abandon(session, key.project, key.text, route)
        raise
