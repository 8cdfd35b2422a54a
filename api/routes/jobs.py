"""Jobs: submit, look at, cancel."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.callers import JobsReader, JobsWriter
from api.checks import checked
from api.context import Ctx, known_shape
from api.idempotency import Answer, IdempotencyKey, fingerprint, turn
from api.schemas.common import Cursor, Limit, Page, Time
from api.schemas.jobs import (
    EventPage,
    EventView,
    JobRequest,
    JobStateName,
    JobView,
    KindName,
    Metrics,
    Series,
)
from store import events as event_store
from store import jobs as store
from store.states import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.post("", status_code=201, response_model=JobView)
def submit(
    body: JobRequest, context: Ctx, caller: JobsWriter, key: IdempotencyKey = None
) -> Response:
    """Queue a run: `finetune` trains, evaluates and calibrates; `evaluate` only measures.

    `interpolate`, `merge` and `select` make one checkpoint out of some that are there, or choose
    one; where the model that these started from is needed and not given, it is looked up.

    Everything that can be known now is checked now; the answer names the field at fault.
    """
    limit = context.settings.max_attempts
    with turn(context, key, "POST /jobs", fingerprint(body)) as mine:
        if mine.replay is not None:
            return mine.replay
        with context.database.session() as session:
            spec = checked(session, caller.project, body.spec(), context.settings.dataset_root)
            job = store.create_job(
                session,
                spec,
                project=caller.project,
                key_id=caller.key_id,
                name=body.name,
                alias=body.alias,
                max_attempts=limit,
            )
            view = JobView.model_validate(job)
            answer = Answer(201, view, {"Location": f"/jobs/{view.id}"})
            mine.keep(session, answer)
    # After the commit: a worker that is faster than this line finds the row.
    context.doorbell.ring(view.id)
    return answer.response()


@router.get("")
def list_jobs(
    context: Ctx,
    caller: JobsReader,
    state: Annotated[JobStateName | None, Query(description="Only jobs in this state.")] = None,
    kind: Annotated[KindName | None, Query(description="Only jobs of this kind.")] = None,
    updated_after: Annotated[
        Time | None, Query(description="Only jobs that changed after this time.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[JobView]:
    """Jobs, newest first."""
    with context.database.reading() as session:
        page = store.list_jobs(
            session,
            project=caller.project,
            state=JobState(state) if state else None,
            kind=kind,
            updated_after=updated_after,
            cursor=cursor,
            limit=limit,
        )
        data = [JobView.model_validate(job) for job in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/{job_id}")
def get_job(job_id: str, context: Ctx, caller: JobsReader) -> JobView:
    """One job with its progress."""
    with context.database.reading() as session:
        job = store.get_job(session, known_shape("job", job_id), project=caller.project)
        return JobView.model_validate(job)


@router.post(
    "/{job_id}/cancel",
    responses={202: {"model": JobView, "description": "The run is being asked to stop."}},
)
def cancel(job_id: str, context: Ctx, caller: JobsWriter, response: Response) -> JobView:
    """Cancel a job: at once (200) while it is queued; a running one is asked to stop (202).

    Asking again while it stops gives the same answer; a job that has ended answers 409.
    """
    with context.database.session() as session:
        job = store.cancel_job(session, known_shape("job", job_id), project=caller.project)
        view = JobView.model_validate(job)
    response.status_code = 202 if view.state == "cancelling" else 200
    return view


@router.get("/{job_id}/events")
def list_events(
    job_id: str,
    context: Ctx,
    caller: JobsReader,
    after_seq: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EventPage:
    """What happened to a job, in order."""
    with context.database.reading() as session:
        store.get_job(session, known_shape("job", job_id), project=caller.project)
        rows = event_store.list_events(session, job_id, after_seq=after_seq, limit=limit)
        data = [EventView.model_validate(row) for row in rows]
    return EventPage(data=data, last_seq=data[-1].seq if data else after_seq)


@router.get("/{job_id}/metrics")
def metrics(
    job_id: str,
    context: Ctx,
    caller: JobsReader,
    names: Annotated[
        str | None, Query(max_length=1000, description="Comma separated; by default all.")
    ] = None,
    resolution: Annotated[
        int | None, Query(ge=2, le=10_000, description="Most points of a curve.")
    ] = None,
) -> Metrics:
    """Curves over the steps of a job, thinned to `resolution` points."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] if names else None
    if wanted:
        wanted = [name for name in wanted if name.isprintable()]
    with context.database.reading() as session:
        store.get_job(session, known_shape("job", job_id), project=caller.project)
        found = event_store.list_metrics(session, job_id, names=wanted, resolution=resolution)
    return Metrics(
        data=[
            Series(name=name, steps=[p[0] for p in points], values=[p[1] for p in points])
            for name, points in found.items()
        ]
    )
