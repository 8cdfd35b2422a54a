"""Live calibration of models: figures, the test and its alerts, versions, recalibration."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query

from api.access.callers import JobsWriter, ModelsReader
from api.models.routes import known_alias, target_of
from api.monitoring.recalibration import recalibrate_model
from api.monitoring.schemas import (
    MAX_LAST,
    AlertView,
    CalibrationView,
    CalibratorView,
    RecalibrateRequest,
    RecalibrationView,
)
from api.monitoring.state import MonitoringDep
from api.monitoring.summary import calibration_of
from api.web.schemas import Cursor, Limit, Page, Time
from store.models.alerts import list_alerts
from store.models.aliases import get_alias
from store.models.calibrators import RUN, list_calibrators
from store.predictions.log import Window
from store.tables import Calibrator, ModelAlias

router = APIRouter(prefix="/models/{alias}", tags=["models"])
Since = Annotated[Time | None, Query(description="No prediction that is older.")]


@router.get("/calibration")
def get_calibration(
    alias: str,
    state: MonitoringDep,
    caller: ModelsReader,
    last: Annotated[
        int, Query(ge=1, le=MAX_LAST, description="At most so many predictions, the newest.")
    ] = 10_000,
    since: Since = None,
) -> CalibrationView:
    """Whether a model's confidences still hold, by the labels given and before there are any.

    Figures are of the checkpoint and the calibrator that the model uses now.
    """
    target = target_of(state.database, caller.project, known_alias(alias))
    state.predictions.log.flush()
    return calibration_of(state, target, last, since)


@router.get("/alerts")
def list_model_alerts(
    alias: str, state: MonitoringDep, caller: ModelsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[AlertView]:
    """When the model's confidences were found not to be true, newest first."""
    with state.database.reading() as session:
        get_alias(session, caller.project, known_alias(alias))
        page = list_alerts(session, caller.project, alias, cursor=cursor, limit=limit)
        data = [AlertView.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/calibrators")
def list_versions(
    alias: str, state: MonitoringDep, caller: ModelsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[CalibratorView]:
    """Versions of the calibrator of the checkpoint that the model points to, newest first."""
    with state.database.reading() as session:
        model = get_alias(session, caller.project, known_alias(alias))
        page = list_calibrators(
            session, caller.project, model.checkpoint_id, cursor=cursor, limit=limit
        )
        data = [view(row, model) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.post("/recalibrate")
async def recalibrate(
    alias: str, body: RecalibrateRequest, state: MonitoringDep, caller: JobsWriter
) -> RecalibrationView:
    """Fit a calibrator on the labels given, and use it if it is better on labels held out.

    No version is deleted: `PUT /models/{alias}` goes back to one.
    """
    target = await to_thread.run_sync(target_of, state.database, caller.project, known_alias(alias))
    window = Window(
        project=caller.project,
        alias=alias,
        checkpoint_id=target.checkpoint_id,
        calibrator_id=target.calibrator_id,
        last=body.last,
        since=body.since,
    )
    return await to_thread.run_sync(
        recalibrate_model, state, window, body.kind, body.dry_run, limiter=state.refits
    )


def view(row: Calibrator, model: ModelAlias) -> CalibratorView:
    """A version as the API shows it, beside the model that may use it."""
    own = model.calibrator_id is None and row.origin == RUN
    shown = CalibratorView.model_validate(row)
    return shown.model_copy(update={"current": own or row.id == model.calibrator_id})
