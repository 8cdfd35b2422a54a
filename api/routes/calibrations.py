"""Live calibration of models: figures, the test and its alerts, versions, recalibration."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query

from api.callers import JobsWriter, ModelsReader
from api.context import Ctx
from api.monitoring import calibration_of
from api.recalibrating import recalibrate_model
from api.routes.models import known_alias, pointing_of
from api.schemas.common import Cursor, Limit, Page, Time
from api.schemas.monitoring import (
    MAX_LAST,
    AlertView,
    CalibrationView,
    CalibratorView,
    RecalibrateRequest,
    RecalibrationView,
)
from store.alerts import list_alerts
from store.aliases import get_alias
from store.calibrators import RUN, list_calibrators
from store.predictions import Window
from store.tables import Calibrator, ModelAlias

router = APIRouter(prefix="/models/{alias}", tags=["models"])
Since = Annotated[Time | None, Query(description="No prediction that is older.")]


@router.get("/calibration")
def get_calibration(
    alias: str,
    context: Ctx,
    caller: ModelsReader,
    last: Annotated[
        int, Query(ge=1, le=MAX_LAST, description="At most so many predictions, the newest.")
    ] = 10_000,
    since: Since = None,
) -> CalibrationView:
    """Whether a model's confidences still hold, by the labels given and before there are any.

    Figures are of the checkpoint and the calibrator that the model uses now.
    """
    pointing = pointing_of(context, caller.project, known_alias(alias))
    context.recorder.flush()
    return calibration_of(context, pointing, last, since)


@router.get("/alerts")
def list_model_alerts(
    alias: str, context: Ctx, caller: ModelsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[AlertView]:
    """When the model's confidences were found not to be true, newest first."""
    with context.database.reading() as session:
        get_alias(session, caller.project, known_alias(alias))
        page = list_alerts(session, caller.project, alias, cursor=cursor, limit=limit)
        data = [AlertView.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/calibrators")
def list_versions(
    alias: str, context: Ctx, caller: ModelsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[CalibratorView]:
    """Versions of the calibrator of the checkpoint that the model points to, newest first."""
    with context.database.reading() as session:
        model = get_alias(session, caller.project, known_alias(alias))
        page = list_calibrators(
            session, caller.project, model.checkpoint_id, cursor=cursor, limit=limit
        )
        data = [view(row, model) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.post("/recalibrate")
async def recalibrate(
    alias: str, body: RecalibrateRequest, context: Ctx, caller: JobsWriter
) -> RecalibrationView:
    """Fit a calibrator on the labels given, and use it if it is better on labels held out.

    Every version is kept: `PUT /models/{alias}` goes back to one.
    """
    pointing = await to_thread.run_sync(pointing_of, context, caller.project, known_alias(alias))
    window = Window(
        project=caller.project,
        alias=alias,
        checkpoint_id=pointing.checkpoint_id,
        calibrator_id=pointing.calibrator_id,
        last=body.last,
        since=body.since,
    )
    return await to_thread.run_sync(
        recalibrate_model, context, window, body.kind, body.dry_run, limiter=context.refits
    )


def view(row: Calibrator, model: ModelAlias) -> CalibratorView:
    """A version as the API shows it, beside the model that may use it."""
    own = model.calibrator_id is None and row.origin == RUN
    shown = CalibratorView.model_validate(row)
    return shown.model_copy(update={"current": own or row.id == model.calibrator_id})
