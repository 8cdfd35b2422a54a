"""Checkpoints: look at, download, delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from api.callers import JobsWriter, ModelsReader
from api.context import Ctx, known_shape
from api.ranges import chosen_range
from api.schemas.common import Cursor, Limit, Page
from api.schemas.models import CheckpointView
from store import checkpoints as store
from store import deletion
from store.tables import Checkpoint

router = APIRouter(prefix="/checkpoints", tags=["checkpoints"])
TAR = "application/x-tar"
BINARY = {"content": {TAR: {"schema": {"type": "string", "format": "binary"}}}}


@router.get("")
def list_checkpoints(
    context: Ctx,
    caller: ModelsReader,
    job_id: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[CheckpointView]:
    """Checkpoints that were not deleted, newest first."""
    wanted = known_shape("job", job_id) if job_id is not None else None
    with context.database.reading() as session:
        page = store.list_checkpoints(
            session, caller.project, job_id=wanted, cursor=cursor, limit=limit
        )
        return Page(data=[_view(row) for row in page.data], next_cursor=page.next_cursor)


@router.get("/{checkpoint_id}")
def get_checkpoint(checkpoint_id: str, context: Ctx, caller: ModelsReader) -> CheckpointView:
    """One checkpoint."""
    with context.database.reading() as session:
        wanted = known_shape("checkpoint", checkpoint_id)
        return _view(store.get_checkpoint(session, caller.project, wanted))


@router.delete("/{checkpoint_id}", status_code=204)
def delete_checkpoint(checkpoint_id: str, context: Ctx, caller: JobsWriter) -> None:
    """Delete its weights; what is known of it stays. Not while an alias or a job needs it."""
    with context.database.session() as session:
        row = store.get_checkpoint(
            session, caller.project, known_shape("checkpoint", checkpoint_id)
        )
        artifact = deletion.delete(session, row)
    deletion.finish(context.database, context.artifacts, artifact)


@router.get(
    "/{checkpoint_id}/download",
    response_class=StreamingResponse,
    responses={
        200: {"description": "The whole tar.", **BINARY},
        206: {"description": "The range that was asked for.", **BINARY},
        304: {"description": "Not changed since `If-None-Match`."},
    },
)
def download(
    checkpoint_id: str,
    context: Ctx,
    caller: ModelsReader,
    range_: Annotated[str | None, Header(alias="Range", max_length=200)] = None,
    if_range: Annotated[str | None, Header(max_length=200)] = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """The checkpoint's files as a tar, in open_clip's layout. Ranges resume a broken download."""
    with context.database.reading() as session:
        wanted = known_shape("checkpoint", checkpoint_id)
        row = store.get_checkpoint(session, caller.project, wanted)
        deletion.check_there(row)
        reference, size = row.artifact.ref, row.artifact.size or 0
        name, etag = row.id, f'"{row.artifact.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if if_none_match is not None and etag in [tag.strip() for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    chosen = chosen_range(range_, if_range, etag, size)
    start, end = chosen or (0, size)
    headers["Content-Length"] = str(end - start)
    headers["Content-Disposition"] = f'attachment; filename="{name}.tar"'
    if chosen is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"

    def content() -> Iterator[bytes]:
        yield from context.artifacts.open(reference, start, end)

    status = 200 if chosen is None else 206
    return StreamingResponse(content(), status_code=status, headers=headers, media_type=TAR)


def _view(row: Checkpoint) -> CheckpointView:
    view = CheckpointView.model_validate(row)
    return view.model_copy(update={"bytes": row.artifact.size, "sha256": row.artifact.sha256})
