"""Models side by side."""

from __future__ import annotations

from typing import Annotated, cast

from anyio import to_thread
from fastapi import APIRouter, Query

from api.callers import ModelsReader
from api.comparisons import compare_reports
from api.context import Context, Ctx, known_shape
from api.kept import measured, newest_report
from api.problems import invalid
from api.schemas.comparisons import Comparison, ConfidenceName

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
    context: Ctx,
    caller: ModelsReader,
    checkpoint: Ids = [],  # noqa: B006 - FastAPI copies it
    report: Reports = [],  # noqa: B006
    confidence: ConfidenceName = "calibrated",
) -> Comparison:
    """Two to ten checkpoints or reports side by side, each against the first.

    On every data set that all of them were measured on: their figures, and the differences on the
    same images with 95 % intervals, from the logits that the reports kept. `real` says which
    differences are more than chance, all of the answer taken together.
    """
    return await to_thread.run_sync(
        _compare, context, caller.project, checkpoint, report, confidence, limiter=context.analyses
    )


def _compare(
    context: Context,
    project: str,
    checkpoints: list[str],
    reports: list[str],
    confidence: ConfidenceName,
) -> Comparison:
    ids = [newest_report(context, project, known_shape("checkpoint", id)) for id in checkpoints]
    ids += [known_shape("report", id) for id in reports]
    if not FEWEST <= len(ids) <= MOST:
        raise invalid("checkpoint", f"name {FEWEST} to {MOST} checkpoints or reports")
    if len(set(ids)) != len(ids):
        raise invalid("checkpoint", "two of them are the same report")
    found = [measured(context, project, id) for id in ids]
    answer = context.comparisons.get_or_make(
        ("comparison", tuple(ids), confidence),
        lambda: compare_reports(context, found, confidence),
    )
    return cast(Comparison, answer)
