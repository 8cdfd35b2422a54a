"""What requests about jobs share."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.jobs.notification import WorkerNotifier
from store.reports.headlines import Headlines


class JobsState(SubjectState):
    """The notifier of workers, and cached figures of reports for lists of jobs."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.notifier = WorkerNotifier(context.settings)
        self.headlines = Headlines()

    def close(self) -> None:
        """Let go of the broker."""
        self.notifier.close()


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> JobsState:
    return cast(JobsState, request.app.state.jobs)


JobsDep = Annotated[JobsState, Depends(_state)]
