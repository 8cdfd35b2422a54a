"""Jobs as the API shows them: the row, and what only other rows tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from api.context import Context
from api.schemas.jobs import JobHeadline, JobView
from store.jobs import queue_positions
from store.states import HELD
from store.tables import Job


def view(context: Context, session: Session, job: Job) -> JobView:
    """One job."""
    return views(context, session, [job])[0]


def views(context: Context, session: Session, jobs: Sequence[Job]) -> list[JobView]:
    """Jobs with place in line, last heartbeat and headline; two more queries for all of them."""
    places = queue_positions(session, jobs)
    headlines = context.headlines.read(session, jobs)
    lease = timedelta(seconds=context.settings.lease_seconds)
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
