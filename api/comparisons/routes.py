"""Routes for comparisons of models."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query

from api.access.callers import ModelsReader
from api.comparisons.comparison import compare_reports
from api.comparisons.schemas import Comparison
from api.reports.outputs import Measured, cached_answer, measured, newest_report
from api.reports.schemas import ConfidenceName
from api.reports.state import ReportsDep, ReportsState
from api.web.identifiers import known_shape
from api.web.problems import invalid

FEWEST, MOST = 2, 10
Ids = Annotated[
    list[Annotated[str, Query(max_length=100)]],
    Query(max_length=MOST, description="Repeat it for each; the newest report of each is taken."),
]
Reports = Annotated[
    list[Annotated[str, Query(max_length=100)]],
    Query(max_length=MOST, description="Reports, where those of the checkpoints are not meant."),
]

router = APIRouter(prefix="/comparisons", tags=["reports"])


@router.get("")
async def compare(
    state: ReportsDep,
    caller: ModelsReader,
    checkpoint: Ids = [],  # noqa: B006 - FastAPI copies it
    report: Reports = [],  # noqa: B006
    confidence: ConfidenceName = "calibrated",
) -> Comparison:
    """Two to ten checkpoints or reports side by side, each against the first.

    On every data set that all of them were measured on: their figures, and the differences on the
    same images with 95 % intervals, from the stored logits. `real` says which differences
    are unlikely to be chance, with all of the answer taken together.
    """
    found = await to_thread.run_sync(_named, state, caller.project, checkpoint, report)
    key = ("comparison", tuple(each.report_id for each in found), confidence)
    return await cached_answer(state, key, lambda: compare_reports(state, found, confidence))


def _named(
    state: ReportsState, project: str, checkpoints: list[str], reports: list[str]
) -> list[Measured]:
    ids = [newest_report(state, project, known_shape("checkpoint", id)) for id in checkpoints]
    ids += [known_shape("report", id) for id in reports]
    if not FEWEST <= len(ids) <= MOST:
        raise invalid("checkpoint", f"name {FEWEST} to {MOST} checkpoints or reports")
    if len(set(ids)) != len(ids):
        raise invalid("checkpoint", "two of them are the same report")
    return [measured(state, project, id) for id in ids]
