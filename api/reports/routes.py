"""Routes for reports, their classes and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Response

from api.access.callers import ModelsReader
from api.datasets.listings import place_of
from api.datasets.pictures import picture, shift_of
from api.datasets.schemas import PICTURE, Key, Side
from api.reports.classes_and_mistakes import MOST_MISTAKES, classes_of, mistakes_of
from api.reports.outputs import Answer, Measured, cached_answer, measured
from api.reports.schemas import ClassesView, MistakesView, ReportHeader, ReportView
from api.reports.state import ReportsDep, ReportsState
from api.web.identifiers import known_shape
from api.web.schemas import Cursor, Limit, Page
from store.reports import reports as store

RowName = Annotated[
    str | None,
    Query(
        max_length=100,
        description="Name of one of the report's data sets; by default the one in distribution.",
    ),
]

router = APIRouter(prefix="/reports", tags=["reports"])


@router.get("")
def list_reports(
    state: ReportsDep,
    caller: ModelsReader,
    job_id: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ReportHeader]:
    """Reports, newest first, without their documents."""
    wanted = known_shape("job", job_id) if job_id is not None else None
    with state.database.reading() as session:
        page = store.list_reports(
            session, caller.project, job_id=wanted, cursor=cursor, limit=limit
        )
        data = [ReportHeader.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/{report_id}")
def get_report(report_id: str, state: ReportsDep, caller: ModelsReader) -> ReportView:
    """One report: accuracy and calibration, raw and calibrated, on every data set."""
    with state.database.reading() as session:
        row = store.get_report(session, caller.project, known_shape("report", report_id))
        return ReportView.model_validate(row)


@router.get("/{report_id}/classes")
async def classes(
    report_id: str, state: ReportsDep, caller: ModelsReader, dataset: RowName = None
) -> ClassesView:
    """A data set of a report class by class, from the logits that it kept."""
    return await _detail(state, caller.project, report_id, dataset, classes_of)


@router.get("/{report_id}/mistakes")
async def mistakes(
    report_id: str,
    state: ReportsDep,
    caller: ModelsReader,
    dataset: RowName = None,
    limit: Annotated[int, Query(ge=1, le=MOST_MISTAKES, description="Most mistakes.")] = 20,
) -> MistakesView:
    """The most confident mistakes on a data set of a report, the most confident first."""
    found = await _detail(state, caller.project, report_id, dataset, mistakes_of)
    return found.model_copy(update={"data": found.data[:limit]})


@router.get("/{report_id}/image", response_class=Response, responses=PICTURE)
async def image(
    report_id: str,
    state: ReportsDep,
    caller: ModelsReader,
    key: Key,
    dataset: RowName = None,
    side: Side = 160,
) -> Response:
    """An image of a data set of a report as the model saw it, shifts included, scaled down."""
    return await to_thread.run_sync(
        _picture,
        state,
        caller.project,
        report_id,
        dataset,
        key,
        side,
        limiter=state.datasets.pictures,
    )


async def _detail(
    state: ReportsState,
    project: str,
    report_id: str,
    dataset: str | None,
    make: Callable[[ReportsState, Measured, int], Answer],
) -> Answer:
    wanted = known_shape("report", report_id)
    report = await to_thread.run_sync(measured, state, project, wanted)
    index = report.index(dataset)
    key = (make.__name__, report.report_id, index)
    return await cached_answer(state, key, lambda: make(state, report, index))


def _picture(
    state: ReportsState, project: str, report_id: str, dataset: str | None, key: str, side: int
) -> Response:
    report = measured(state, project, known_shape("report", report_id))
    row = report.rows[report.index(dataset)]
    place = place_of(state.datasets, project, row["dataset"])
    shift = shift_of(row.get("shift"), row.get("severity"))
    return picture(state.datasets, place, row["split"], key, side, shift)
