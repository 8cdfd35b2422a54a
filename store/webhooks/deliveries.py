"""Deliveries of events to webhooks: taken, sent, retried, given up.

A sender takes a delivery with one guarded UPDATE that counts the attempt and delays the next one
until its lease ends, so that two senders do not send it at once. What a sender writes afterwards
carries its attempt: when the lease ran out meanwhile and another took it, nothing is written. A
sender that dies before it writes leaves the delivery to be sent again: at least once, never
certainly once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, aliased

from store.database import database_now
from store.pages import Page, fetch_page
from store.tables import Webhook, WebhookDelivery
from store.webhooks.webhooks import disable_webhook, get_webhook

KEPT_SECONDS = 30 * 86_400.0
GONE = 410
"""The status of a receiver that wants nothing more, ever."""


class Due(NamedTuple):
    """A delivery that may be taken."""

    id: str
    webhook_id: str
    project_id: str


@dataclass(frozen=True)
class Taken:
    """A delivery that one sender may send until its lease ends. `attempt` counts from 1."""

    id: str
    webhook_id: str
    project_id: str
    url: str
    secret: str
    payload: dict[str, Any]
    attempt: int


def list_deliveries(
    session: Session,
    project_id: str,
    webhook_id: str,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> Page[WebhookDelivery]:
    """What was sent to a webhook, or is to be, newest first.

    Raises:
        NotFound: the project has no such webhook.
    """
    webhook = get_webhook(session, project_id, webhook_id)
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id)
    return fetch_page(session, query, WebhookDelivery.id, cursor=cursor, limit=limit)


def find_due(
    session: Session,
    limit: int,
    *,
    busy: Collection[str] = (),
    busy_projects: Collection[str] = (),
) -> list[Due]:
    """Deliveries that are due: at most one of each webhook, and none of those that are busy.

    One of each, and those of webhooks that fail behind all others: a receiver with thousands of
    them waiting holds up nobody else. Then those that wait longest.
    """
    other = aliased(WebhookDelivery)
    first = (
        select(other.id)
        .where(other.webhook_id == Webhook.id, other.next_attempt_at <= database_now())
        .order_by(other.next_attempt_at)
        .limit(1)
        .correlate(Webhook)
        .scalar_subquery()
    )
    query = (
        select(WebhookDelivery.id, Webhook.id, Webhook.project_id)
        .join(Webhook, WebhookDelivery.id == first)
        .where(
            Webhook.disabled_at.is_(None),
            Webhook.id.not_in(busy),
            Webhook.project_id.not_in(busy_projects),
        )
        .order_by(Webhook.failing_since.is_not(None), WebhookDelivery.next_attempt_at)
        .limit(limit)
    )
    return [Due(*row) for row in session.execute(query)]


def take(session: Session, delivery_id: str, lease_seconds: float) -> Taken | None:
    """Take a delivery that is due; None when another sender was faster."""
    row = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id, WebhookDelivery.next_attempt_at <= database_now())
        .values(next_attempt_at=database_now(lease_seconds), attempts=WebhookDelivery.attempts + 1)
        .returning(WebhookDelivery.webhook_id, WebhookDelivery.payload, WebhookDelivery.attempts)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return None
    webhook = session.get_one(Webhook, row.webhook_id)
    return Taken(
        id=delivery_id,
        webhook_id=webhook.id,
        project_id=webhook.project_id,
        url=webhook.url,
        secret=webhook.secret,
        payload=row.payload,
        attempt=row.attempts,
    )


def mark_delivered(session: Session, taken: Taken, status: int) -> bool:
    """The receiver took it; False when the delivery is no longer this sender's."""
    webhook = _webhook(session, taken)
    values = {"delivered_at": database_now(), "next_attempt_at": None, "error": None}
    if webhook is None or not _write(session, taken, status=status, **values):
        return False
    webhook.failing_since = None
    session.flush()
    return True


def mark_failed(
    session: Session,
    taken: Taken,
    error: str,
    *,
    status: int | None = None,
    delay: float | None = None,
    disable_after: float,
) -> bool:
    """The receiver did not take it; False when the delivery is no longer this sender's.

    Args:
        error: why, for people.
        status: what it answered, if it did.
        delay: seconds until the next attempt; None gives the delivery up.
        disable_after: seconds of nothing but failures, after which giving one up disables the
            webhook; a receiver that answers 410 is disabled at once.
    """
    webhook = _webhook(session, taken)
    if webhook is None:
        return False
    gone = status == GONE
    over = delay is None or gone or webhook.disabled_at is not None
    values = {"next_attempt_at": None if over else database_now(delay or 0.0)}
    if not _write(session, taken, status=status, error=error, **values):
        return False
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook.id, Webhook.failing_since.is_(None))
        .values(failing_since=database_now())
    )
    if gone:
        disable_webhook(session, webhook.id, "its receiver answered 410: gone")
    elif over and _fails_since(session, webhook.id, disable_after):
        reason = f"every delivery failed for {_span(disable_after)}; the last one: {error}"
        disable_webhook(session, webhook.id, reason)
    return True


def tidy(session: Session) -> int:
    """Remove deliveries that ended long ago; give up those that a disabled webhook still has.

    Returns:
        How many were removed.
    """
    # A state may change in the moment in which a webhook is disabled.
    disabled = select(Webhook.id).where(Webhook.disabled_at.is_not(None))
    session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.next_attempt_at.is_not(None), WebhookDelivery.webhook_id.in_(disabled)
        )
        .values(next_attempt_at=None, error="the webhook was disabled")
        .execution_options(synchronize_session=False)
    )
    removed = session.execute(
        delete(WebhookDelivery)
        .where(
            WebhookDelivery.next_attempt_at.is_(None),
            WebhookDelivery.created_at < database_now(-KEPT_SECONDS),
        )
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    )
    return len(removed.all())


def _webhook(session: Session, taken: Taken) -> Webhook | None:
    """Its row, taken before that of the delivery, as when it is deleted; None when it was."""
    lock = {"key_share": True}
    return session.get(Webhook, taken.webhook_id, populate_existing=True, with_for_update=lock)


def _write(session: Session, taken: Taken, **values: Any) -> bool:
    mine = session.scalar(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == taken.id,
            WebhookDelivery.attempts == taken.attempt,
            WebhookDelivery.delivered_at.is_(None),
        )
        .values(**values)
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    )
    return mine is not None


def _fails_since(session: Session, webhook_id: str, seconds: float) -> bool:
    long_ago = Webhook.failing_since <= database_now(-seconds)
    return session.scalar(select(Webhook.id).where(Webhook.id == webhook_id, long_ago)) is not None


def _span(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:.0f} days" if days >= 1 else f"{seconds:.0f} seconds"
