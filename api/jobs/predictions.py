"""Routes for the result of a `predict` job: a Parquet file with a row for each image."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from api.access.callers import JobsReader, JobsWriter
from api.context import ContextDep
from api.web import downloads
from api.web.downloads import Asked, File
from api.web.identifiers import known_shape
from store.predictions.files import delete_predictions, get_predictions
from store.retention.deletion import finish

router = APIRouter(prefix="/jobs", tags=["jobs"])
PARQUET = "application/vnd.apache.parquet"


@router.get(
    "/{job_id}/predictions",
    response_class=StreamingResponse,
    responses=downloads.documented(PARQUET, "Parquet file"),
)
def download(job_id: str, context: ContextDep, caller: JobsReader, asked: Asked) -> Response:
    """The predictions of a `predict` job that has succeeded. Ranges resume a broken download."""
    with context.database.reading() as session:
        row = get_predictions(session, caller.project, known_shape("job", job_id))
        file = File.of(row, f"{job_id}.parquet", PARQUET)
    return downloads.send(context.artifacts, file, asked)


@router.delete("/{job_id}/predictions", status_code=204)
def delete(job_id: str, context: ContextDep, caller: JobsWriter) -> None:
    """Delete the predictions; the job and what it said of them stay."""
    with context.database.session() as session:
        artifact = delete_predictions(session, caller.project, known_shape("job", job_id))
    finish(context.database, context.artifacts, artifact)
