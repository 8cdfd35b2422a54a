"""What requests share for authentication and rate limits."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.access.hosts import Hosts
from api.access.rates import Rates
from api.context import Context, SubjectState


class AccessState(SubjectState):
    """The rates of requests, and the names that this server answers to."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        settings = context.settings
        self.rates = Rates(settings.rate_per_minute, settings.failures_per_minute)
        self.hosts = Hosts(settings.allowed_hosts, settings.host)


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> AccessState:
    return cast(AccessState, request.app.state.access)


AccessDep = Annotated[AccessState, Depends(_state)]
