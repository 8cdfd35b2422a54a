"""Schemas of webhooks and their deliveries."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from api.jobs.schemas import JobStateName
from api.web.schemas import Time, View

EventName = Literal["job", "calibration.alert"]
DeliveryState = Literal["pending", "delivered", "failed"]


class WebhookRequest(BaseModel):
    """Where to send events, and which."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"url": "https://example.com/carot", "states": ["succeeded", "failed", "cancelled"]}
            ]
        },
    )

    url: str = Field(
        min_length=1,
        max_length=2000,
        description="An https URL on port 443 or above 1023, whose host has public addresses only.",
    )
    states: list[JobStateName] = Field(
        default=[], max_length=50, description="States of jobs to hear of; by default all."
    )
    events: list[EventName] = Field(
        default=[],
        max_length=10,
        description="What to hear of: changes of jobs' states (`job`), confidences that are found "
        "to be no longer true (`calibration.alert`); by default both.",
    )


class WebhookView(View):
    """Somewhere that hears of jobs and models."""

    id: str
    url: str
    states: list[JobStateName] = Field(description="Empty: all.")
    events: list[EventName] = Field(description="Empty: all.")
    created_at: Time
    failing_since: Time | None = Field(description="The first failure since the last success.")
    disabled_at: Time | None
    disabled_reason: str | None


class NewWebhook(WebhookView):
    """A webhook with its secret, which is shown this once."""

    secret: str = Field(
        description="Key of the signatures, for any Standard Webhooks library; `***` in an answer "
        "that is repeated."
    )


class DeliveryView(View):
    """One event on its way to a webhook. `id` is the `webhook-id` that its receiver sees."""

    id: str
    type: str = Field(description="`job.` and the state, `calibration.alert` or `webhook.test`.")
    job_id: str | None
    seq: int = Field(description="Number of the job's event; larger is later.")
    state: DeliveryState
    attempts: int
    status: int | None = Field(description="HTTP status of the last answer.")
    error: str | None = Field(description="Why the last attempt failed.")
    next_attempt_at: Time | None
    delivered_at: Time | None
    created_at: Time
