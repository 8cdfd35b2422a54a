"""The live stream of a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.callers import JobsReader
from api.context import Ctx, known_shape
from api.streams import job_stream
from store.jobs import get_job

router = APIRouter(prefix="/jobs", tags=["jobs"])


def _existing(job_id: str, context: Ctx, caller: JobsReader) -> str:
    """Answers 404 while an answer can still be chosen: before the stream begins."""
    with context.database.reading() as session:
        return get_job(session, caller.project, known_shape("job", job_id)).id


@router.get("/{job_id}/events/stream", response_class=EventSourceResponse)
async def stream(
    job: Annotated[str, Depends(_existing)],
    context: Ctx,
    caller: JobsReader,
    after_seq: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    last_event_id: Annotated[str | None, Header(pattern=r"^\d{1,9}$")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Events as they happen (Server-Sent Events), until the job has ended.

    An event's id is its `seq`: a client that comes back with `Last-Event-ID` misses none.
    `progress` events have no id.
    """
    after = int(last_event_id) if last_event_id else after_seq
    async for event in job_stream(context, job, after, key_id=caller.key_id):
        yield event
