"""Ids of resources in requests, and the request's own id."""

from __future__ import annotations

import re
from typing import Annotated, cast

from fastapi import Depends, Request

from store.errors import NotFound

ID = re.compile(r"[a-z]{2,5}_[0-9a-z]{26}")


def known_shape(kind: str, identity: str) -> str:
    """The id itself; an id that cannot exist is not looked up, whatever characters it has.

    Raises:
        NotFound: it is not an id.
    """
    if not ID.fullmatch(identity):
        raise NotFound(kind, identity[:100])
    return identity


def request_id_of(request: Request) -> str:
    """The id that a request has come with, or was given."""
    return cast(str, request.state.request_id)


# Not in a thread, where FastAPI runs what is not async.
async def _request_id(request: Request) -> str:
    return request_id_of(request)


RequestId = Annotated[str, Depends(_request_id)]
