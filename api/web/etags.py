"""ETags: answers are not sent again while they are the same."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Header, Response
from pydantic import BaseModel

IfNoneMatch = Annotated[
    str | None,
    Header(max_length=1000, description="The `ETag` of an answer that is there already."),
]
UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer is the one that `If-None-Match` names."}
}


def names(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match names this tag; weak tags are compared by what is in them."""
    if if_none_match is None:
        return False
    offered = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in offered or etag in offered


def tagged(document: BaseModel, if_none_match: str | None) -> Response:
    """A document as JSON with a hash of it for a tag; 304 when that is the one there is."""
    content = document.model_dump_json().encode()
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
    if names(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")
