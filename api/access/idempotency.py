"""The same creating request twice makes one thing and gives one answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.access.callers import known_caller
from store.access import idempotency as store
from store.database import Database
from store.redaction import HIDDEN

Given = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Any unique text. The same key with the same request gives the first answer "
        "again; with another request 422.",
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
class Once:
    """A request that makes something once, however often it is sent with the same key.

    Attributes:
        fingerprint: what else must be the same.
    """

    key: ProjectKey | None
    route: str
    fingerprint: str

    def look(self, database: Database) -> Response | None:
        """The earlier answer, if there is one; checked before work that would be wasted.

        Raises:
            IdempotencyConflict: the key belongs to another request.
        """
        if self.key is None:
            return None
        with database.reading() as session:
            stored = store.look(
                session, self.key.project, self.key.text, self.route, self.fingerprint
            )
        return _replayed(stored)

    def take(self, session: Session) -> Response | None:
        """Take the key for the transaction; the answer that was given before, if one was.

        Raises:
            IdempotencyConflict: the key belongs to another request.
        """
        if self.key is None:
            return None
        key = self.key
        return _replayed(store.take(session, key.project, key.text, self.route, self.fingerprint))

    def keep(self, session: Session, answer: Answer, *, secrets: Sequence[str] = ()) -> None:
        """Store the answer in the transaction that creates the thing: both or neither.

        Args:
            secrets: fields that are in the first answer only, masked in what is stored and so in
                every later one.
        """
        if self.key is not None:
            body = answer.body.model_dump(mode="json") | dict.fromkeys(secrets, HIDDEN)
            response = {"status": answer.status, "body": body, "headers": answer.headers}
            store.keep(session, self.key.project, self.key.text, self.route, response)


def fingerprint(body: BaseModel) -> str:
    """The hash of a request's body, whatever its spacing and order of keys."""
    text = json.dumps(body.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _replayed(stored: dict[str, Any] | None) -> Response | None:
    if stored is None:
        return None
    headers = {**stored["headers"], "Idempotent-Replayed": "true"}
    return JSONResponse(stored["body"], status_code=stored["status"], headers=headers)
