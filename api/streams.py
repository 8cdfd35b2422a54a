"""A job's events as they happen (Server-Sent Events)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import to_thread
from fastapi.sse import ServerSentEvent

from api.context import Context
from api.schemas.jobs import EventView, JobView
from store.events import list_events
from store.keys import is_valid
from store.moves import find
from store.states import TERMINAL

POLL_SECONDS = 0.5
PAGE = 200


@dataclass(frozen=True)
class _Look:
    events: list[EventView]
    job: JobView


async def job_stream(
    context: Context, job_id: str, after_seq: int, *, key_id: str | None = None
) -> AsyncIterator[ServerSentEvent]:
    """Events behind `after_seq`, then new ones, with the progress between them, until the end.

    It also ends when the key that asked for it does.

    Events carry their `seq` as id, so that a client that comes back with `Last-Event-ID` misses
    none. Progress carries no id: it is a state, and the next one replaces it.
    """
    progress: dict[str, Any] | None = None
    while not context.stopping():
        look = await to_thread.run_sync(_look, context, job_id, after_seq, key_id)
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
            return
        if look.job.state not in TERMINAL:
            await anyio.sleep(POLL_SECONDS)


def _look(context: Context, job_id: str, after_seq: int, key_id: str | None) -> _Look | None:
    """What there is to tell; None when the key has ended."""
    # The job is read before its events: a terminal state then implies that all events are seen
    # once a later look finds none.
    with context.database.reading() as session:
        if key_id is not None and not is_valid(session, key_id):
            return None
        job = JobView.model_validate(find(session, job_id))
        rows = list_events(session, job_id, after_seq=after_seq, limit=PAGE)
        return _Look([EventView.model_validate(row) for row in rows], job)
