"""What requests about webhooks share."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.context import Context, SubjectState
from api.web.addresses import Allowed
from api.webhooks.targets import Targets


class WebhooksState(SubjectState):
    """Where webhooks may lead."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.targets = Targets(Allowed.of(context.settings.webhook_allow))

    def close(self) -> None:
        """End the threads that look names up."""
        self.targets.close()


# Not in a thread, where FastAPI runs what is not async.
async def _state(request: Request) -> WebhooksState:
    return cast(WebhooksState, request.app.state.webhooks)


WebhooksDep = Annotated[WebhooksState, Depends(_state)]
