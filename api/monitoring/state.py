"""What requests about the calibration of models share."""

from __future__ import annotations

from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.monitoring.live_calibration import LiveFigures
from api.predict.state import PredictionsState


class MonitoringState(SubjectState):
    """Live figures of models, and whose calibrators are being fitted.

    Attributes:
        refits: calibrators that are fitted at the same time.
    """

    def __init__(self, context: Context, predictions: PredictionsState) -> None:
        super().__init__(context)
        self.predictions = predictions
        self.models = predictions.models
        self.live = LiveFigures(context.database)
        self.refits = CapacityLimiter(1)


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> MonitoringState:
    return cast(MonitoringState, request.app.state.monitoring)


MonitoringDep = Annotated[MonitoringState, Depends(_state)]
