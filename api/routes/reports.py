"""Reports: look at, down to their classes and mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar, cast

from anyio import to_thread
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from api.callers import ModelsReader
from api.context import Context, Ctx, known_shape
from api.details import MOST_MISTAKES, classes_of, mistakes_of
from api.kept import Measured, measured
from api.listings import place_of
from api.pictures import picture, shift_of
from api.schemas.common import Cursor, Limit, Page
from api.schemas.datasets import PICTURE, Key, Side
from api.schemas.models import ReportHeader, ReportView
from api.schemas.reports import ClassesView, MistakesView
from store import reports as store

Answer = TypeVar("Answer", bound=BaseModel)
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
    context: Ctx,
    caller: ModelsReader,
    job_id: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[ReportHeader]:
    """Reports, newest first, without their documents."""
    wanted = known_shape("job", job_id) if job_id is not None else None
    with context.database.reading() as session:
        page = store.list_reports(
            session, caller.project, job_id=wanted, cursor=cursor, limit=limit
        )
        data = [ReportHeader.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/{report_id}")
def get_report(report_id: str, context: Ctx, caller: ModelsReader) -> ReportView:
    """One report: accuracy and calibration, raw and calibrated, on every data set."""
    with context.database.reading() as session:
        row = store.get_report(session, caller.project, known_shape("report", report_id))
        return ReportView.model_validate(row)


@router.get("/{report_id}/classes")
async def classes(
    report_id: str, context: Ctx, caller: ModelsReader, dataset: RowName = None
) -> ClassesView:
    """A data set of a report class by class, from the logits that it kept."""
    return await to_thread.run_sync(
        _detail, context, caller.project, report_id, dataset, classes_of, limiter=context.analyses
    )


@router.get("/{report_id}/mistakes")
async def mistakes(
    report_id: str,
    context: Ctx,
    caller: ModelsReader,
    dataset: RowName = None,
    limit: Annotated[int, Query(ge=1, le=MOST_MISTAKES, description="Most mistakes.")] = 20,
) -> MistakesView:
    """The most confident mistakes on a data set of a report, the most confident first."""
    found = await to_thread.run_sync(
        _detail, context, caller.project, report_id, dataset, mistakes_of, limiter=context.analyses
    )
    return found.model_copy(update={"data": found.data[:limit]})


@router.get("/{report_id}/image", response_class=Response, responses=PICTURE)
async def image(
    report_id: str,
    context: Ctx,
    caller: ModelsReader,
    key: Key,
    dataset: RowName = None,
    side: Side = 160,
) -> Response:
    """An image of a data set of a report as the model saw it, shifts included, scaled down."""
    return await to_thread.run_sync(
        _picture, context, caller.project, report_id, dataset, key, side, limiter=context.pictures
    )


def _detail(
    context: Context,
    project: str,
    report_id: str,
    dataset: str | None,
    make: Callable[[Context, Measured, int], Answer],
) -> Answer:
    report = measured(context, project, known_shape("report", report_id))
    index = report.index(dataset)
    answer = context.comparisons.get_or_make(
        (make.__name__, report.report_id, index), lambda: make(context, report, index)
    )
    return cast(Answer, answer)


def _picture(
    context: Context, project: str, report_id: str, dataset: str | None, key: str, side: int
) -> Response:
    report = measured(context, project, known_shape("report", report_id))
    row = report.rows[report.index(dataset)]
    place = place_of(context, project, row["dataset"])
    shift = shift_of(row.get("shift"), row.get("severity"))
    return picture(context, place, row["split"], key, side, shift)
