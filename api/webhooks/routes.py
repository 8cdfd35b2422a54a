"""Routes for webhooks: create, list, test, delete, and their deliveries."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.access.callers import JobsReader, JobsWriter
from api.access.idempotency import Answer, IdempotencyKey, Once, fingerprint
from api.web.identifiers import known_shape
from api.web.problems import invalid
from api.web.schemas import Cursor, Limit, Page
from api.webhooks.schemas import (
    DeliveryState,
    DeliveryView,
    NewWebhook,
    WebhookRequest,
    WebhookView,
)
from api.webhooks.state import WebhooksDep, WebhooksState
from api.webhooks.targets import TargetRefused
from store.tables import WebhookDelivery
from store.webhooks import deliveries as delivery_store
from store.webhooks import webhooks as store

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post("", status_code=201, response_model=NewWebhook)
def create_webhook(
    body: WebhookRequest, state: WebhooksDep, caller: JobsWriter, key: IdempotencyKey = None
) -> Response:
    """Send an event to a URL whenever a job changes its state, or a model is found to be wrong.

    The secret is in this answer and in no other: where the same `Idempotency-Key` comes again, it
    is `***`. docs/webhooks.md shows a receiver.
    """
    once = Once(key, "POST /webhooks", fingerprint(body))
    if (before := once.look(state.database)) is not None:
        return before
    _check(state, body.url)
    with state.database.session() as session:
        if (before := once.take(session)) is not None:
            return before
        webhook = store.create_webhook(session, caller.project, body.url, body.states, body.events)
        view = NewWebhook.model_validate(webhook)
        answer = Answer(201, view, {"Location": f"/webhooks/{view.id}"})
        once.keep(session, answer, secrets=["secret"])
    return answer.response()


@router.get("")
def list_webhooks(
    state: WebhooksDep, caller: JobsReader, cursor: Cursor = None, limit: Limit = 50
) -> Page[WebhookView]:
    """Webhooks, newest first."""
    with state.database.reading() as session:
        page = store.list_webhooks(session, caller.project, cursor=cursor, limit=limit)
        data = [WebhookView.model_validate(row) for row in page.data]
        return Page(data=data, next_cursor=page.next_cursor)


@router.get("/{webhook_id}")
def get_webhook(webhook_id: str, state: WebhooksDep, caller: JobsReader) -> WebhookView:
    """One webhook, without its secret."""
    identity = known_shape("webhook", webhook_id)
    with state.database.reading() as session:
        return WebhookView.model_validate(store.get_webhook(session, caller.project, identity))


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: str, state: WebhooksDep, caller: JobsWriter) -> None:
    """Remove a webhook, and everything that was on its way to it."""
    identity = known_shape("webhook", webhook_id)
    with state.database.session() as session:
        store.delete_webhook(session, caller.project, identity)


@router.post("/{webhook_id}/enable")
def enable_webhook(webhook_id: str, state: WebhooksDep, caller: JobsWriter) -> WebhookView:
    """Enable a webhook that was disabled; it receives events from now on."""
    identity = known_shape("webhook", webhook_id)
    with state.database.session() as session:
        return WebhookView.model_validate(store.enable_webhook(session, caller.project, identity))


@router.post("/{webhook_id}/test", status_code=202)
def test_webhook(webhook_id: str, state: WebhooksDep, caller: JobsWriter) -> DeliveryView:
    """Queue a `webhook.test` event; the list of deliveries shows the result."""
    identity = known_shape("webhook", webhook_id)
    with state.database.session() as session:
        return view(store.announce_test(session, caller.project, identity))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(
    webhook_id: str,
    state: WebhooksDep,
    caller: JobsReader,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[DeliveryView]:
    """What was sent to a webhook in the last 30 days, or is to be, newest first."""
    identity = known_shape("webhook", webhook_id)
    with state.database.reading() as session:
        page = delivery_store.list_deliveries(
            session, caller.project, identity, cursor=cursor, limit=limit
        )
        return Page(data=[view(row) for row in page.data], next_cursor=page.next_cursor)


def view(row: WebhookDelivery) -> DeliveryView:
    """A delivery as the API shows it."""
    state: DeliveryState = "failed"
    if row.delivered_at is not None:
        state = "delivered"
    elif row.next_attempt_at is not None:
        state = "pending"
    return DeliveryView(
        id=row.id,
        type=row.payload["type"],
        job_id=row.job_id,
        seq=row.seq,
        state=state,
        attempts=row.attempts,
        status=row.status,
        error=row.error,
        next_attempt_at=row.next_attempt_at,
        delivered_at=row.delivered_at,
        created_at=row.created_at,
    )


def _check(state: WebhooksState, url: str) -> None:
    """Refuse what would be refused at every sending."""
    seconds = state.settings.webhook_timeout_seconds
    try:
        state.targets.submit(url).result(timeout=seconds)
    except TargetRefused as refused:
        raise invalid("url", str(refused)) from None
    except TimeoutError:
        raise invalid("url", f"its name was not found within {seconds:g} seconds") from None
