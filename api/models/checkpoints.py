"""Routes for checkpoints: list, show, download, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from api.access.callers import JobsWriter, ModelsReader
from api.context import ContextDep
from api.models.schemas import CheckpointView
from api.web import downloads
from api.web.downloads import Asked, File
from api.web.identifiers import known_shape
from api.web.schemas import PLAIN, Cursor, Limit, Page
from store.models import checkpoints as store
from store.retention import deletion
from store.tables import Checkpoint

router = APIRouter(prefix="/checkpoints", tags=["checkpoints"])
TAR = "application/x-tar"


@router.get("")
def list_checkpoints(
    context: ContextDep,
    caller: ModelsReader,
    job_id: Annotated[str | None, Query(max_length=100)] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=200,
            pattern=PLAIN,
            description="Only checkpoints with this in name, id, method or architecture.",
        ),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[CheckpointView]:
    """Checkpoints that were not deleted, newest first."""
    wanted = known_shape("job", job_id) if job_id is not None else None
    with context.database.reading() as session:
        page = store.list_checkpoints(
            session, caller.project, job_id=wanted, search=search, cursor=cursor, limit=limit
        )
        return Page(data=[_view(row) for row in page.data], next_cursor=page.next_cursor)


@router.get("/{checkpoint_id}")
def get_checkpoint(checkpoint_id: str, context: ContextDep, caller: ModelsReader) -> CheckpointView:
    """One checkpoint."""
    with context.database.reading() as session:
        wanted = known_shape("checkpoint", checkpoint_id)
        return _view(store.get_checkpoint(session, caller.project, wanted))


@router.delete("/{checkpoint_id}", status_code=204)
def delete_checkpoint(checkpoint_id: str, context: ContextDep, caller: JobsWriter) -> None:
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
    responses=downloads.documented(TAR, "tar"),
)
def download(
    checkpoint_id: str, context: ContextDep, caller: ModelsReader, asked: Asked
) -> Response:
    """The checkpoint's files as a tar, in open_clip's layout. Ranges resume a broken download."""
    with context.database.reading() as session:
        wanted = known_shape("checkpoint", checkpoint_id)
        row = store.get_checkpoint(session, caller.project, wanted)
        deletion.check_there(row)
        file = File.of(row.artifact, f"{row.id}.tar", TAR)
    return downloads.send(context.artifacts, file, asked)


def _view(row: Checkpoint) -> CheckpointView:
    view = CheckpointView.model_validate(row)
    return view.model_copy(update={"bytes": row.artifact.size, "sha256": row.artifact.sha256})
