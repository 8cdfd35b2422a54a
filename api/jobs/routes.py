"""Routes for jobs: submit, show, pause, resume, cancel, retry."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Response

from api.access.callers import JobsReader, JobsWriter
from api.access.idempotency import Answer, IdempotencyKey, Once, fingerprint
from api.jobs.checks import checked, warnings_of
from api.jobs.schemas import (
    Aliased,
    EventPage,
    EventView,
    JobChange,
    JobCheck,
    JobRequest,
    JobStateName,
    JobView,
    KindName,
    Metrics,
    Series,
)
from api.jobs.state import JobsDep
from api.jobs.views import view, views
from api.web.etags import UNCHANGED, IfNoneMatch, tagged
from api.web.identifiers import RequestId, known_shape
from api.web.problems import FieldError, Problem
from api.web.schemas import PLAIN, Cursor, Limit, Page, Time
from store.jobs import events as event_store
from store.jobs import jobs as store
from store.jobs.jobs import JobFilter, Wishes
from store.jobs.states import JobState

router = APIRouter(prefix="/jobs", tags=["jobs"])
log = structlog.get_logger("api.jobs")
ASKED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobView, "description": "The run is being asked to stop."}
}


@router.post("", status_code=201, response_model=JobView)
def submit(
    body: JobRequest,
    jobs: JobsDep,
    caller: JobsWriter,
    request_id: RequestId,
    key: IdempotencyKey = None,
) -> Response:
    """Queue a run: `finetune` trains, evaluates and calibrates; `evaluate` only measures.

    `interpolate`, `merge` and `select` make one checkpoint out of some that are there, or choose
    one; where the model that these started from is needed and not given, it is looked up.
    `predict` scores every image of a data set.

    Everything that can be known now is checked now; the answer names the field at fault.
    """
    wishes = Wishes(
        queue=body.resources.queue or jobs.settings.default_queue,
        priority=body.priority,
        processes=body.resources.processes,
        max_seconds=body.max_seconds,
        max_attempts=jobs.settings.max_attempts,
    )
    once = Once(key, "POST /jobs", fingerprint(body))
    with jobs.database.session() as session:
        if (before := once.take(session)) is not None:
            return before
        spec = checked(session, caller.project, body.spec(), jobs.settings.dataset_root)
        job = store.create_job(
            session,
            spec,
            project=caller.project,
            key_id=caller.key_id,
            name=body.name,
            alias=body.alias,
            alias_when=body.alias_when if isinstance(body, Aliased) else "better",
            wishes=wishes,
            request_id=request_id,
        )
        shown = view(jobs, session, job)
        answer = Answer(201, shown, {"Location": f"/jobs/{shown.id}"})
        once.keep(session, answer)
    log.info("job_created", job_id=shown.id, kind=shown.kind, project=caller.project)
    # After the commit: a worker that is faster than this line finds the row.
    jobs.notifier.notify(shown.id, shown.queue)
    return answer.response()


@router.get("", response_model=Page[JobView], responses=UNCHANGED)
def list_jobs(
    jobs: JobsDep,
    caller: JobsReader,
    state: Annotated[
        list[JobStateName] | None, Query(max_length=8, description="Only jobs in these states.")
    ] = None,
    kind: Annotated[KindName | None, Query(description="Only jobs of this kind.")] = None,
    method: Annotated[
        str | None,
        Query(max_length=40, pattern=PLAIN, description="Only jobs with this method."),
    ] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=200,
            pattern=PLAIN,
            description="Only jobs with this in name, id, data set or alias.",
        ),
    ] = None,
    updated_after: Annotated[
        Time | None, Query(description="Only jobs that changed after this time.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Jobs, newest first."""
    wanted = JobFilter(
        states=tuple(map(JobState, state or ())),
        kind=kind,
        method=method,
        search=search,
        updated_after=updated_after,
    )
    with jobs.database.reading() as session:
        page = store.list_jobs(session, caller.project, wanted, cursor=cursor, limit=limit)
        data = views(jobs, session, page.data)
    return tagged(Page[JobView](data=data, next_cursor=page.next_cursor), if_none_match)


@router.post("/check")
def check(body: JobRequest, jobs: JobsDep, caller: JobsWriter) -> JobCheck:
    """What a job would be, without queueing it: checked, and completed with what it left open.

    A job that would be refused is an answer, too: `errors` names its fields.
    """
    with jobs.database.session() as session:  # what it names is locked against deletion
        try:
            spec = checked(session, caller.project, body.spec(), jobs.settings.dataset_root)
        except Problem as problem:
            found = problem.errors or [("body", str(problem.detail))]
            errors = [FieldError(field=field, message=text) for field, text in found]
            return JobCheck(spec=None, errors=errors)
        warnings = warnings_of(session, caller.project, spec)
        return JobCheck(spec=spec.model_dump(mode="json"), warnings=warnings)


@router.get("/{job_id}", response_model=JobView, responses=UNCHANGED)
def get_job(
    job_id: str, jobs: JobsDep, caller: JobsReader, if_none_match: IfNoneMatch = None
) -> Response:
    """One job with its progress."""
    with jobs.database.reading() as session:
        job = store.get_job(session, caller.project, known_shape("job", job_id))
        shown = view(jobs, session, job)
    return tagged(shown, if_none_match)


@router.patch("/{job_id}")
def change(job_id: str, body: JobChange, jobs: JobsDep, caller: JobsWriter) -> JobView:
    """Change the priority of a job that has not ended."""
    with jobs.database.session() as session:
        wanted = known_shape("job", job_id)
        return view(
            jobs, session, store.set_priority(session, caller.project, wanted, body.priority)
        )


@router.post("/{job_id}/cancel", responses=ASKED)
def cancel(job_id: str, jobs: JobsDep, caller: JobsWriter, response: Response) -> JobView:
    """Cancel a job: at once (200) while it waits; a running one is asked to stop (202).

    Asking again while it stops gives the same answer; a job that has ended answers 409.
    """
    with jobs.database.session() as session:
        job = store.cancel_job(session, caller.project, known_shape("job", job_id))
        shown = view(jobs, session, job)
    response.status_code = 202 if shown.state == "cancelling" else 200
    return shown


@router.post("/{job_id}/pause", responses=ASKED)
def pause(job_id: str, jobs: JobsDep, caller: JobsWriter, response: Response) -> JobView:
    """Pause a job: at once (200) while it waits; a running one makes a snapshot and stops (202).

    Asking again gives the same answer; a job that has ended or is being cancelled answers 409.
    """
    with jobs.database.session() as session:
        job = store.pause_job(session, caller.project, known_shape("job", job_id))
        shown = view(jobs, session, job)
    response.status_code = 202 if shown.state == "pausing" else 200
    return shown


@router.post("/{job_id}/resume")
def resume(job_id: str, jobs: JobsDep, caller: JobsWriter) -> JobView:
    """Queue a paused job again; it goes on from its last snapshot."""
    with jobs.database.session() as session:
        job = store.resume_job(session, caller.project, known_shape("job", job_id))
        shown = view(jobs, session, job)
    jobs.notifier.notify(shown.id, shown.queue)
    return shown


@router.post("/{job_id}/retry")
def retry(job_id: str, jobs: JobsDep, caller: JobsWriter) -> JobView:
    """Queue a failed or cancelled job again; it goes on from its last snapshot, if it has one.

    Attempts and time limit start again from zero.
    """
    with jobs.database.session() as session:
        job = store.retry_job(session, caller.project, known_shape("job", job_id))
        shown = view(jobs, session, job)
    jobs.notifier.notify(shown.id, shown.queue)
    return shown


@router.get("/{job_id}/events")
def list_events(
    job_id: str,
    jobs: JobsDep,
    caller: JobsReader,
    after_seq: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> EventPage:
    """What happened to a job, in order."""
    with jobs.database.reading() as session:
        store.get_job(session, caller.project, known_shape("job", job_id))
        rows = event_store.list_events(session, job_id, after_seq=after_seq, limit=limit)
        data = [EventView.model_validate(row) for row in rows]
    return EventPage(data=data, last_seq=data[-1].seq if data else after_seq)


@router.get("/{job_id}/metrics", response_model=Metrics, responses=UNCHANGED)
def metrics(
    job_id: str,
    jobs: JobsDep,
    caller: JobsReader,
    names: Annotated[
        str | None, Query(max_length=1000, description="Comma separated; by default all.")
    ] = None,
    resolution: Annotated[
        int | None,
        Query(
            ge=2,
            le=10_000,
            description="Most points of a curve; from 8 on, spikes are among them.",
        ),
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Curves over the steps of a job, thinned to `resolution` points."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] if names else None
    if wanted:
        wanted = [name for name in wanted if name.isprintable()]
    with jobs.database.reading() as session:
        store.get_job(session, caller.project, known_shape("job", job_id))
        found = event_store.list_metrics(session, job_id, names=wanted, resolution=resolution)
    curves = [
        Series(name=name, steps=[p[0] for p in points], values=[p[1] for p in points])
        for name, points in found.items()
    ]
    return tagged(Metrics(data=curves), if_none_match)
