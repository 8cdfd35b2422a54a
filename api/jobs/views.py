"""Jobs as the API shows them: the row, and what only other rows tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from api.jobs.schemas import JobHeadline, JobView
from api.jobs.state import JobsState
from store.jobs.jobs import queue_positions
from store.jobs.states import HELD
from store.tables import Job


def view(state: JobsState, session: Session, job: Job) -> JobView:
    """One job."""
    return views(state, session, [job])[0]


def views(state: JobsState, session: Session, jobs: Sequence[Job]) -> list[JobView]:
    """Jobs with place in line, last heartbeat and headline; two more queries for all of them."""
    places = queue_positions(session, jobs)
    headlines = state.headlines.read(session, jobs)
    lease = timedelta(seconds=state.settings.lease_seconds)
    shown = []
    for job in jobs:
        headline = headlines.get(job.id)
        beaten = job.lease_expires_at if job.state in HELD else None
        more = {
            "queue_position": places.get(job.id),
            "heartbeat_at": None if beaten is None else beaten - lease,
            "headline": None if headline is None else JobHeadline.model_validate(dict(headline)),
        }
        shown.append(JobView.model_validate(job).model_copy(update=more))
    return shown
