"""Webhooks: receivers of a project's events, and which events each receives."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from store.database import database_now
from store.errors import Conflict, NotFound
from store.ids import new_id
from store.pages import Page, fetch_page
from store.tables import CalibrationAlert, Job, Project, Webhook, WebhookDelivery

MAX_PER_PROJECT = 20
"""Each of them costs every change of a job's state a row."""
SECRET_BYTES = 32
MAX_MESSAGE = 1000
TEST_EVENT = "webhook.test"
JOB_EVENT = "job"
ALERT_EVENT = "calibration.alert"


def create_webhook(
    session: Session,
    project_id: str,
    url: str,
    states: Sequence[str],
    events: Sequence[str] = (),
) -> Webhook:
    """A new webhook with a secret of its own; without states or events, it receives all.

    The secret is stored as it is: signing needs it.

    Raises:
        Conflict: the project has as many as it may.
    """
    # The row of the project is taken first, so that two who count do not both find room.
    locked = select(Project.id).where(Project.id == project_id).with_for_update(key_share=True)
    session.execute(locked)
    mine = select(func.count()).select_from(Webhook).where(Webhook.project_id == project_id)
    if (session.scalar(mine) or 0) >= MAX_PER_PROJECT:
        raise Conflict(f"a project has at most {MAX_PER_PROJECT} webhooks; delete one first")
    key = base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")
    webhook = Webhook(
        id=new_id("hook"),
        project_id=project_id,
        url=url,
        secret=f"whsec_{key}",
        states=sorted(set(states)),
        events=sorted(set(events)),
    )
    session.add(webhook)
    session.flush()
    session.refresh(webhook)
    return webhook


def get_webhook(
    session: Session, project_id: str, webhook_id: str, *, lock: bool = False
) -> Webhook:
    """A webhook of the project; with `lock`, it stays as it is until this transaction ends.

    Raises:
        NotFound: the project has none with this id.
    """
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.project_id == project_id)
    if lock:
        query = query.with_for_update()
    webhook = session.scalar(query.execution_options(populate_existing=True))
    if webhook is None:
        raise NotFound("webhook", webhook_id)
    return webhook


def list_webhooks(
    session: Session, project_id: str, *, cursor: str | None = None, limit: int = 50
) -> Page[Webhook]:
    """A project's webhooks, newest first."""
    query = select(Webhook).where(Webhook.project_id == project_id)
    return fetch_page(session, query, Webhook.id, cursor=cursor, limit=limit)


def delete_webhook(session: Session, project_id: str, webhook_id: str) -> None:
    """Remove a webhook, with all that was on its way to it.

    Raises:
        NotFound: the project has none with this id.
    """
    # Locked first: a change of state at the same moment waits, and then finds it gone.
    webhook = get_webhook(session, project_id, webhook_id, lock=True)
    session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook.id))
    session.delete(webhook)
    session.flush()


def enable_webhook(session: Session, project_id: str, webhook_id: str) -> Webhook:
    """Enable a disabled webhook; it receives events from now on.

    Raises:
        NotFound: the project has none with this id.
    """
    webhook = get_webhook(session, project_id, webhook_id, lock=True)
    webhook.disabled_at = webhook.disabled_reason = webhook.failing_since = None
    session.flush()
    return webhook


def disable_webhook(session: Session, webhook_id: str, reason: str) -> None:
    """Send nothing more to a webhook, and give up what was on its way to it."""
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook_id, Webhook.disabled_at.is_(None))
        .values(disabled_at=database_now(), disabled_reason=reason)
    )
    waiting = (
        WebhookDelivery.webhook_id == webhook_id,
        WebhookDelivery.next_attempt_at.is_not(None),
    )
    session.execute(
        update(WebhookDelivery)
        .where(*waiting)
        .values(next_attempt_at=None, error=f"the webhook was disabled: {reason}")
    )


def announce(session: Session, job_id: str, seq: int, state: str) -> None:
    """Queue the event for every enabled webhook of the job's project that receives this state.

    In the transaction of the change itself: both happen, or neither.
    """
    # A share of each row is held, so that none is deleted before its delivery is in: the change
    # of a job's state must not fail because somebody removes a webhook.
    hooks = session.execute(
        select(Webhook.id, Webhook.states, Webhook.events)
        .join(Job, Job.project_id == Webhook.project_id)
        .where(Job.id == job_id, Webhook.disabled_at.is_(None))
        .with_for_update(read=True, key_share=True, of=Webhook)
    ).all()
    wanting = [
        webhook_id
        for webhook_id, states, events in hooks
        if (not states or state in states) and (not events or JOB_EVENT in events)
    ]
    if not wanting:
        return
    changed_at, payload = _payload(session, job_id, seq, state)
    rows = [
        {
            "id": new_id("msg"),
            "webhook_id": webhook_id,
            "job_id": job_id,
            "seq": seq,
            "payload": payload,
            "next_attempt_at": changed_at,
            "created_at": changed_at,
        }
        for webhook_id in wanting
    ]
    session.execute(insert(WebhookDelivery), rows)


def announce_alert(session: Session, alert: CalibrationAlert) -> None:
    """Queue an alert for every enabled webhook of its project that receives alerts."""
    hooks = session.execute(
        select(Webhook.id, Webhook.events)
        .where(Webhook.project_id == alert.project_id, Webhook.disabled_at.is_(None))
        .with_for_update(read=True, key_share=True)
    ).all()
    payload = {
        "type": ALERT_EVENT,
        "timestamp": alert.raised_at.isoformat(),
        "data": {
            "alert": {
                "id": alert.id,
                "model": alert.alias,
                "checkpoint_id": alert.checkpoint_id,
                "calibrator_id": alert.calibrator_id,
                "evidence": alert.evidence,
                "alpha": alert.alpha,
                "labels": alert.labels,
                "finding": alert.finding,
            }
        },
    }
    rows = [
        {
            "id": new_id("msg"),
            "webhook_id": webhook_id,
            "job_id": None,
            "seq": 0,
            "payload": payload,
            "next_attempt_at": alert.raised_at,
            "created_at": alert.raised_at,
        }
        for webhook_id, events in hooks
        if not events or ALERT_EVENT in events
    ]
    if rows:
        session.execute(insert(WebhookDelivery), rows)


def announce_test(session: Session, project_id: str, webhook_id: str) -> WebhookDelivery:
    """Queue a test event without content.

    Raises:
        NotFound: the project has none with this id.
        Conflict: the webhook is disabled.
    """
    webhook = get_webhook(session, project_id, webhook_id, lock=True)
    if webhook.disabled_at is not None:
        raise Conflict("the webhook is disabled; enable it first")
    now = session.scalars(select(database_now())).one()
    delivery = WebhookDelivery(
        id=new_id("msg"),
        webhook_id=webhook.id,
        job_id=None,
        seq=0,
        payload={
            "type": TEST_EVENT,
            "timestamp": now.isoformat(),
            "data": {"webhook": {"id": webhook.id}},
        },
        next_attempt_at=now,
    )
    session.add(delivery)
    session.flush()
    session.refresh(delivery)
    return delivery


def _payload(
    session: Session, job_id: str, seq: int, state: str
) -> tuple[datetime, dict[str, Any]]:
    """When the state changed, and the message; small, since receivers can request the job."""
    columns = (
        Job.id,
        Job.kind,
        Job.name,
        Job.alias,
        Job.checkpoint_id,
        Job.report_id,
        Job.warnings,
        Job.error,
        Job.updated_at,
    )
    job = session.execute(select(*columns).where(Job.id == job_id)).one()
    error = None
    if job.error is not None:
        error = {key: job.error.get(key) for key in ("code", "message", "field")}
        error["message"] = str(error["message"] or "")[:MAX_MESSAGE]
    return job.updated_at, {
        "type": f"job.{state}",
        "timestamp": job.updated_at.isoformat(),
        "data": {
            "seq": seq,
            "job": {
                "id": job.id,
                "kind": job.kind,
                "name": job.name,
                "alias": job.alias,
                "state": str(state),
                "checkpoint_id": job.checkpoint_id,
                "report_id": job.report_id,
                "warnings": sorted({each["code"] for each in job.warnings}),
                "error": error,
            },
        },
    }
