"""Reports: look at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.callers import ModelsReader
from api.context import Ctx, known_shape
from api.schemas.common import Cursor, Limit, Page
from api.schemas.models import ReportHeader, ReportView
from store import reports as store

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
