"""The live stream of a job: its events as they happen (Server-Sent Events).

A browser's EventSource connects again whenever a stream ends. So a stream says by an event, `end`,
that nothing more will come, and whoever comes back behind the last event of a job that has ended is
answered 204, after which an EventSource stays away.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.access.callers import JobsReader
from api.access.rates import address_of
from api.jobs.schemas import EventView, JobView
from api.jobs.state import JobsDep, JobsState
from api.web.identifiers import known_shape
from api.web.problems import NoContent
from store.access.keys import is_valid
from store.jobs.events import list_events
from store.jobs.jobs import get_job
from store.jobs.states import TERMINAL
from store.jobs.transitions import find

router = APIRouter(prefix="/jobs", tags=["jobs"])
POLL_SECONDS = 0.5
PAGE = 200
END = "end"
LastEventId = Annotated[
    str | None,
    Header(
        pattern=r"^(\d{1,9})?$",
        description="`id` of the last event seen; goes before `after_seq`. Empty: none.",
    ),
]


@dataclass(frozen=True)
class _Look:
    events: list[EventView]
    job: JobView


async def job_stream(
    state: JobsState, job_id: str, after_seq: int, *, key_id: str | None = None
) -> AsyncIterator[ServerSentEvent]:
    """Events behind `after_seq`, then new ones, with the progress between them, until the end.

    It also ends when the key that asked for it does.

    Events carry their `seq` as id, so that a client that comes back with `Last-Event-ID` misses
    none. Progress carries no id: it is a state, and the next one replaces it. `end` carries the
    last one's, so that also who saw nothing but it comes back with one.
    """
    progress: dict[str, Any] | None = None
    while not state.context.stopping():
        look = await to_thread.run_sync(_look, state, job_id, after_seq, key_id)
        if look is None:
            return
        for event in look.events:
            after_seq = event.seq
            yield ServerSentEvent(
                event=event.type, id=str(event.seq), raw_data=event.model_dump_json()
            )
        current = look.job.progress.model_dump() if look.job.progress else None
        if current is not None and current != progress:
            progress = current
            yield ServerSentEvent(event="progress", raw_data=json.dumps(current))
        if len(look.events) == PAGE:
            continue
        if look.job.state in TERMINAL and not look.events:
            ending = json.dumps({"state": look.job.state})
            yield ServerSentEvent(event=END, id=str(after_seq), raw_data=ending)
            return
        if look.job.state not in TERMINAL:
            await anyio.sleep(POLL_SECONDS)


def _look(state: JobsState, job_id: str, after_seq: int, key_id: str | None) -> _Look | None:
    """New events; None when the key has ended."""
    # The job is read before its events: a terminal state then implies that all events are seen
    # once a later look finds none.
    with state.database.reading() as session:
        if key_id is not None and not is_valid(session, key_id):
            return None
        job = JobView.model_validate(find(session, job_id))
        rows = list_events(session, job_id, after_seq=after_seq, limit=PAGE)
        return _Look([EventView.model_validate(row) for row in rows], job)


def _open(
    job_id: str, state: JobsDep, caller: JobsReader, last_event_id: LastEventId = None
) -> str:
    """The job, found while an answer can still be chosen: before the stream begins.

    Raises:
        NotFound: there is none.
        NoContent: it has ended, and its last event was seen.
    """
    with state.database.reading() as session:
        job = get_job(session, caller.project, known_shape("job", job_id))
        seen = int(last_event_id or 0)
        if (
            seen
            and job.state in TERMINAL
            and not list_events(session, job.id, after_seq=seen, limit=1)
        ):
            raise NoContent
        return job.id


async def _room(
    job: Annotated[str, Depends(_open)], request: Request, state: JobsDep, caller: JobsReader
) -> AsyncIterator[str]:
    """The job, and room for one more stream until this one has ended."""
    with state.streams.one_more(caller.key_id or address_of(request.scope)):
        yield job


@router.get(
    "/{job_id}/events/stream",
    response_class=EventSourceResponse,
    responses={204: {"description": "The job has ended, and `Last-Event-ID` is its last event."}},
)
async def stream(
    job: Annotated[str, Depends(_room)],
    state: JobsDep,
    caller: JobsReader,
    after_seq: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """Events as they happen (Server-Sent Events), until the job has ended: then comes `end`.

    An event's id is its `seq`: a client that comes back with `Last-Event-ID` misses none, and is
    answered 204 where none can follow. `progress` events have no id.
    """
    after = int(last_event_id) if last_event_id else after_seq
    async for event in job_stream(state, job, after, key_id=caller.key_id):
        yield event
