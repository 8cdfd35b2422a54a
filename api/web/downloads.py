"""Downloads of artifacts, with ranges, so that they can be resumed, and with an ETag."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Response
from fastapi.responses import StreamingResponse

from api.web.ranges import chosen_range
from store.artifacts import ArtifactStore
from store.tables import Artifact


@dataclass(frozen=True)
class Conditions:
    """The conditions of a request: which bytes, and unless they are the same."""

    range_: Annotated[str | None, Header(alias="Range", max_length=200)] = None
    if_range: Annotated[str | None, Header(max_length=200)] = None
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None


Asked = Annotated[Conditions, Depends()]


@dataclass(frozen=True)
class File:
    """Bytes in the artifact store, and the name under which they are sent."""

    name: str
    reference: str
    size: int
    sha256: str | None
    media_type: str

    @classmethod
    def of(cls, row: Artifact, name: str, media_type: str) -> File:
        """An artifact's.

        Raises:
            Gone: it was deleted.
        """
        return cls(name, row.ref, row.size or 0, row.sha256, media_type)


def documented(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that sends a file, for the OpenAPI document."""
    binary = {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}
    return {
        200: {"description": f"The whole {what}.", **binary},
        206: {"description": "The range that was asked for.", **binary},
        304: {"description": "Not changed since `If-None-Match`."},
    }


def send(artifacts: ArtifactStore, file: File, asked: Conditions) -> Response:
    """The file, a range of it, or word that it has not changed.

    Raises:
        Problem: 416, the range lies beyond the end.
    """
    etag = f'"{file.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    known = (asked.if_none_match or "").split(",")
    if etag in [tag.strip() for tag in known]:
        return Response(status_code=304, headers=headers)
    chosen = chosen_range(asked.range_, asked.if_range, etag, file.size)
    start, end = chosen or (0, file.size)
    headers["Content-Length"] = str(end - start)
    headers["Content-Disposition"] = f'attachment; filename="{file.name}"'
    if chosen is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"

    def content() -> Iterator[bytes]:
        yield from artifacts.open(file.reference, start, end)

    status = 200 if chosen is None else 206
    return StreamingResponse(
        content(), status_code=status, headers=headers, media_type=file.media_type
    )
