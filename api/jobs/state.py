"""What requests about jobs share."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.jobs.notification import WorkerNotifier
from api.jobs.open_streams import OpenStreams
from store.reports.headlines import Headlines


class JobsState(SubjectState):
    """The notifier of workers, cached figures of reports for lists of jobs, and open streams."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.notifier = WorkerNotifier(context.settings)
        self.headlines = Headlines()
        settings = context.settings
        self.streams = OpenStreams(settings.streams, settings.streams_per_key)

    def close(self) -> None:
        """Let go of the broker."""
        self.notifier.close()


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> JobsState:
    return cast(JobsState, request.app.state.jobs)


JobsDep = Annotated[JobsState, Depends(_state)]
