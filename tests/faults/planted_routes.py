"""Faults in the routes: statuses, headers, projects, scopes, limits."""

from __future__ import annotations

from tests.faults.fault import Fault

DOOR = ("api/test_authentication|test_door",)


def route(
    name: str, old: str, new: str, tests: tuple[str, ...], *otherwise: tuple[str, str]
) -> Fault:
    """In what the API answers."""
    return Fault(name, "routes", old, new, tests, otherwise=otherwise)


FAULTS = (
    route(
        "a new job has no Location",
        'Answer(201, shown, {"Location": f"/jobs/{shown.id}"})',
        "Answer(201, shown)",
        ("api/test_jobs",),
    ),
    route(
        "a new job is 200",
        'Answer(201, shown, {"Location"',
        'Answer(200, shown, {"Location"',
        ("api/test_jobs",),
    ),
    route(
        "a running job is cancelled with 200",
        'response.status_code = 202 if shown.state == "cancelling" else 200',
        "response.status_code = 200",
        ("api/test_jobs",),
    ),
    route(
        "what a state does not allow is 400",
        'store.IllegalTransition: (409, "illegal_transition")',
        'store.IllegalTransition: (400, "illegal_transition")',
        ("api/test_jobs",),
    ),
    route(
        "jobs of other projects are shown",
        "select(Job).where(Job.id == job_id, Job.project_id == project)",
        "select(Job).where(Job.id == job_id)",
        DOOR,
    ),
    route(
        "reports of other projects are listed",
        "query = select(Report).where(Report.project_id == project)",
        "query = select(Report)",
        DOOR,
    ),
    route(
        "whoever reads jobs changes priorities",
        "body: JobChange, jobs: JobsDep, caller: JobsWriter",
        "body: JobChange, jobs: JobsDep, caller: JobsReader",
        DOOR,
        (
            "body: JobChange, context: Ctx, caller: JobsWriter",
            "body: JobChange, context: Ctx, caller: JobsReader",
        ),
    ),
    route(
        "whoever reads models deletes checkpoints",
        "def delete_checkpoint(checkpoint_id: str, context: ContextDep, caller: JobsWriter)",
        "def delete_checkpoint(checkpoint_id: str, context: ContextDep, caller: ModelsReader)",
        DOOR,
        (
            "def delete_checkpoint(checkpoint_id: str, context: Ctx, caller: JobsWriter)",
            "def delete_checkpoint(checkpoint_id: str, context: Ctx, caller: ModelsReader)",
        ),
    ),
    route(
        "a full page is the last one",
        "more = len(rows) > limit",
        "more = len(rows) > limit + 1",
        ("store/test_jobs", "api/test_jobs"),
    ),
    route(
        "a page may have one item more",
        "Limit = Annotated[int, Query(ge=1, le=200,",
        "Limit = Annotated[int, Query(ge=1, le=201,",
        ("api/test_jobs", "api/test_schema"),
    ),
    route(
        "the last event comes again",
        "JobEvent.job_id == job_id, JobEvent.seq > after_seq",
        "JobEvent.job_id == job_id, JobEvent.seq >= after_seq",
        ("api/test_event_stream|test_streams", "store/test_jobs"),
    ),
    route(
        "a stream begins anew",
        "after = int(last_event_id) if last_event_id else after_seq",
        "after = after_seq",
        ("api/test_event_stream|test_streams",),
    ),
    route(
        "the last byte of a range is left out",
        "end = min(size, int(last) + 1) if last else size",
        "end = min(size, int(last)) if last else size",
        ("api/test_ranges", "api/test_models"),
    ),
    route(
        "one mistake more than asked for",
        'update={"data": found.data[:limit]}',
        'update={"data": found.data[: limit + 1]}',
        (
            "api/test_classes_and_mistakes|test_details|test_report_details",
            "api/test_classes_and_mistakes_real|test_details_real",
        ),
    ),
    route(
        "what is unchanged is sent again",
        'return "*" in offered or etag in offered',
        "return False",
        ("api/test_job_views|test_views", "api/test_jobs", "api/test_models"),
    ),
    route(
        "webhooks may call the server's network",
        "if not is_public(address) and not self._allowed.has(address):",
        "if address.is_loopback and not self._allowed.has(address):",
        ("api/test_targets", "api/test_webhooks"),
    ),
    route(
        "a body of any size is taken piece by piece",
        "            if received > limit:\n                raise too_large(limit)\n",
        "",
        ("api/test_datasets", "api/test_app", "hostile/test_corpus"),
    ),
)
