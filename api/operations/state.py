"""What requests of operators share."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.jobs.state import JobsState
from api.monitoring.state import MonitoringState
from api.operations.readiness import Readiness
from store.monitoring.statistics import Ledger, Models


class OperationsState(SubjectState):
    """The checks of this process, and what was read for `/metrics` before."""

    def __init__(self, context: Context, jobs: JobsState, monitoring: MonitoringState) -> None:
        super().__init__(context)
        settings = context.settings
        self.readiness = Readiness(
            context.database, jobs.notifier, settings.data_dir, settings.min_free_bytes
        )
        self.monitoring = monitoring
        self.predictions = monitoring.predictions
        self.ledger = Ledger()
        self.models = Models()


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> OperationsState:
    return cast(OperationsState, request.app.state.operations)


OperationsDep = Annotated[OperationsState, Depends(_state)]
