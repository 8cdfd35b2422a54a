"""Webhooks and deliveries in the database: who hears of what, and what becomes of each attempt."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from carot.warnings import CodedWarning
from store.database import Database, database_now
from store.errors import Conflict, NotFound
from store.ids import new_id
from store.jobs.claims import expire, fail, lose_attempt, succeed
from store.jobs.jobs import cancel_job, pause_job, resume_job, retry_job
from store.jobs.states import JobState
from store.jobs.warnings import add_warnings
from store.tables import DEFAULT_PROJECT, Job, Project, Webhook, WebhookDelivery
from store.webhooks.deliveries import (
    KEPT_SECONDS,
    Taken,
    find_due,
    list_deliveries,
    mark_delivered,
    mark_failed,
    take,
    tidy,
)
from store.webhooks.webhooks import (
    MAX_PER_PROJECT,
    announce_test,
    create_webhook,
    delete_webhook,
    disable_webhook,
    enable_webhook,
    get_webhook,
    list_webhooks,
)
from tests.store.conftest import HOUR, KILLED, claimed, new_job

DAY = 86_400.0
URL = "https://example.com/hook"


def new_hook(database: Database, *states: str, project: str = DEFAULT_PROJECT) -> str:
    with database.session() as session:
        return create_webhook(session, project, URL, states).id


def new_project(database: Database, name: str = "other") -> str:
    with database.session() as session:
        project = Project(id=new_id("proj"), name=name)
        session.add(project)
        return project.id


def deliveries_of(database: Database, hook: str) -> list[WebhookDelivery]:
    """Oldest first."""
    with database.reading() as session:
        return list(
            session.scalars(
                select(WebhookDelivery)
                .where(WebhookDelivery.webhook_id == hook)
                .order_by(WebhookDelivery.id)
            )
        )


def hook_row(database: Database, hook: str) -> Webhook:
    with database.reading() as session:
        return get_webhook(session, DEFAULT_PROJECT, hook)


def due(database: Database, limit: int = 100, **busy: tuple[str, ...]) -> list[str]:
    with database.reading() as session:
        return [each.id for each in find_due(session, limit, **busy)]


def taken(database: Database, delivery: str, lease: float = HOUR) -> Taken:
    with database.session() as session:
        mine = take(session, delivery, lease)
    assert mine is not None
    return mine


def failed(
    database: Database,
    mine: Taken,
    *,
    status: int | None = None,
    delay: float | None = 0.0,
    disable_after: float = DAY,
) -> bool:
    with database.session() as session:
        return mark_failed(
            session, mine, "away", status=status, delay=delay, disable_after=disable_after
        )


def now_of(database: Database) -> datetime:
    with database.reading() as session:
        return session.scalars(select(database_now())).one()


# Who hears of what -----------------------------------------------------------------------------


def test_secrets_are_32_random_bytes_each(database: Database) -> None:
    hooks = [hook_row(database, new_hook(database)) for _ in range(3)]
    keys = {base64.b64decode(hook.secret.removeprefix("whsec_"), validate=True) for hook in hooks}
    assert [hook.secret[:6] for hook in hooks] == ["whsec_"] * 3
    assert {len(key) for key in keys} == {32}
    assert len(keys) == 3


def test_every_change_of_state_is_announced_once_with_the_event_s_number(
    database: Database,
) -> None:
    hook = new_hook(database)
    held = claimed(database, new_job(database, name="first"))
    warned = CodedWarning(code="not_better_than_start", message="no better")
    with database.session() as session:
        add_warnings(session, held, [warned, warned])
        succeed(session, held, checkpoint_id="ckpt_x", report_id="rep_x")
    rows = deliveries_of(database, hook)
    assert [row.payload["type"] for row in rows] == ["job.queued", "job.running", "job.succeeded"]
    assert [row.seq for row in rows] == [1, 2, 3]
    assert [row.payload["data"]["seq"] for row in rows] == [1, 2, 3]
    assert all(row.job_id == held.job_id and row.attempts == 0 for row in rows)
    last = rows[-1].payload
    assert last["data"]["job"] == {
        "id": held.job_id,
        "kind": "finetune",
        "name": "first",
        "alias": None,
        "state": "succeeded",
        "checkpoint_id": "ckpt_x",
        "report_id": "rep_x",
        "warnings": ["not_better_than_start"],
        "error": None,
    }
    said = datetime.fromisoformat(last["timestamp"])
    assert abs(now_of(database) - said) < timedelta(minutes=1)
    assert due(database) == [rows[0].id], "one of each webhook at a time"


def test_a_failed_job_says_why_in_few_words(database: Database) -> None:
    hook = new_hook(database, "failed")
    held = claimed(database, new_job(database))
    names = [f"{i}.png" for i in range(1000)]
    error = {"code": "bad", "message": "x" * 5000, "field": "dataset", "names": names}
    with database.session() as session:
        fail(session, held, error)
    [row] = deliveries_of(database, hook)
    assert row.payload["data"]["job"]["error"] == {
        "code": "bad",
        "message": "x" * 1000,
        "field": "dataset",
    }


def test_states_choose_what_is_heard(database: Database) -> None:
    ends = new_hook(database, "succeeded", "failed", "cancelled")
    starts = new_hook(database, "running")
    one, other = new_job(database), new_job(database)
    held = claimed(database, one)
    with database.session() as session:
        cancel_job(session, DEFAULT_PROJECT, other)
        succeed(session, held)
    heard = [[r.payload["type"] for r in deliveries_of(database, hook)] for hook in (ends, starts)]
    assert heard == [["job.cancelled", "job.succeeded"], ["job.running"]]


def test_changes_that_workers_and_sweepers_make_are_announced(database: Database) -> None:
    hook = new_hook(database)
    held = claimed(database, new_job(database))
    with database.session() as session:
        lose_attempt(session, held, KILLED)
    held = claimed(database, held.job_id)
    with database.session() as session:
        session.execute(update(Job).values(lease_expires_at=database_now(-1)))
        assert expire(session, held.job_id) == JobState.FAILED
    types = [row.payload["type"] for row in deliveries_of(database, hook)]
    assert types == [f"job.{s}" for s in ("queued", "running", "queued", "running", "failed")]


def test_changes_that_people_ask_for_are_announced(database: Database) -> None:
    hook = new_hook(database)
    job_id = new_job(database)
    for ask in (pause_job, resume_job, cancel_job, retry_job):
        with database.session() as session:
            ask(session, DEFAULT_PROJECT, job_id)
    types = [row.payload["type"] for row in deliveries_of(database, hook)]
    assert types == [f"job.{s}" for s in ("queued", "paused", "queued", "cancelled", "queued")]


def test_a_change_that_is_rolled_back_is_not_announced(database: Database) -> None:
    hook = new_hook(database)
    held = claimed(database, new_job(database))
    with database.session() as session:
        succeed(session, held)
        session.rollback()
    assert [row.seq for row in deliveries_of(database, hook)] == [1, 2]


def test_projects_hear_and_see_their_own_only(database: Database) -> None:
    other = new_project(database)
    mine, theirs = new_hook(database), new_hook(database, project=other)
    new_job(database)
    assert len(deliveries_of(database, mine)) == 1
    assert deliveries_of(database, theirs) == []
    with database.session() as session:
        assert [w.id for w in list_webhooks(session, other).data] == [theirs]
        for function in (get_webhook, delete_webhook, enable_webhook, announce_test):
            with pytest.raises(NotFound):
                function(session, DEFAULT_PROJECT, theirs)
        with pytest.raises(NotFound):
            list_deliveries(session, DEFAULT_PROJECT, theirs)
    assert len(deliveries_of(database, theirs)) == 0
    with database.reading() as session:
        assert get_webhook(session, other, theirs).id == theirs


def test_a_project_has_so_many_webhooks_and_no_more(database: Database) -> None:
    other = new_project(database)
    for _ in range(MAX_PER_PROJECT):
        hook = new_hook(database)
    with pytest.raises(Conflict):
        new_hook(database)
    new_hook(database, project=other)
    with database.session() as session:
        delete_webhook(session, DEFAULT_PROJECT, hook)
    new_hook(database)


def test_a_deleted_webhook_takes_its_deliveries_along(database: Database) -> None:
    gone, kept = new_hook(database), new_hook(database)
    new_job(database)
    with database.session() as session:
        delete_webhook(session, DEFAULT_PROJECT, gone)
    new_job(database)
    assert deliveries_of(database, gone) == []
    assert len(deliveries_of(database, kept)) == 2


def test_a_disabled_webhook_hears_nothing_until_it_is_enabled(database: Database) -> None:
    hook = new_hook(database)
    new_job(database)
    with database.session() as session:
        disable_webhook(session, hook, "tired")
    new_job(database)
    [row] = deliveries_of(database, hook)
    assert (row.next_attempt_at, row.error) == (None, "the webhook was disabled: tired")
    with database.session() as session, pytest.raises(Conflict):
        announce_test(session, DEFAULT_PROJECT, hook)
    assert hook_row(database, hook).disabled_reason == "tired"
    with database.session() as session:
        enabled = enable_webhook(session, DEFAULT_PROJECT, hook)
        assert (enabled.disabled_at, enabled.disabled_reason) == (None, None)
    new_job(database)
    assert [row.next_attempt_at is None for row in deliveries_of(database, hook)] == [True, False]


# What becomes of an attempt --------------------------------------------------------------------


def test_a_delivery_is_taken_by_one_and_again_after_its_lease(database: Database) -> None:
    hook = new_hook(database)
    new_job(database)
    [delivery] = due(database)
    first = taken(database, delivery)
    assert (first.attempt, first.webhook_id, first.url) == (1, hook, URL)
    assert first.payload["type"] == "job.queued"
    assert first.secret == hook_row(database, hook).secret
    assert due(database) == []
    with database.session() as session:
        assert take(session, delivery, HOUR) is None
        session.execute(update(WebhookDelivery).values(next_attempt_at=database_now(-1)))
    second = taken(database, delivery)
    assert (second.id, second.attempt) == (first.id, 2)
    # The first was away for longer than its lease: what it says now is not written.
    assert not failed(database, first, status=410)
    with database.session() as session:
        assert not mark_delivered(session, first, 200)
        assert mark_delivered(session, second, 204)
    [row] = deliveries_of(database, hook)
    assert (row.attempts, row.status, row.next_attempt_at) == (2, 204, None)
    assert row.delivered_at is not None
    assert hook_row(database, hook).disabled_at is None


def test_a_failure_is_tried_again_later_and_a_success_forgets_it(database: Database) -> None:
    hook = new_hook(database)
    new_job(database)
    [delivery] = due(database)
    before = now_of(database)
    assert failed(database, taken(database, delivery), status=500, delay=HOUR)
    [row] = deliveries_of(database, hook)
    assert (row.status, row.error, row.delivered_at) == (500, "away", None)
    assert row.next_attempt_at is not None
    assert timedelta(0) <= row.next_attempt_at - before - timedelta(hours=1) < timedelta(minutes=1)
    assert due(database) == []
    since = hook_row(database, hook).failing_since
    assert since is not None
    with database.session() as session:
        session.execute(update(WebhookDelivery).values(next_attempt_at=database_now()))
    assert failed(database, taken(database, delivery))
    assert hook_row(database, hook).failing_since == since, "the first failure counts"
    with database.session() as session:
        mine = take(session, delivery, HOUR)
        assert mine is not None
        assert mark_delivered(session, mine, 200)
    [row] = deliveries_of(database, hook)
    assert (row.attempts, row.status, row.error) == (3, 200, None)
    assert hook_row(database, hook).failing_since is None


def test_giving_up_disables_a_webhook_that_failed_for_days(database: Database) -> None:
    hook = new_hook(database)
    for _ in range(3):
        new_job(database)
    first, second, third = deliveries_of(database, hook)
    assert failed(database, taken(database, first.id), delay=None)
    assert hook_row(database, hook).disabled_at is None, "it fails since a moment only"
    with database.session() as session:
        session.execute(update(Webhook).values(failing_since=database_now(-3 * DAY)))
    assert failed(database, taken(database, second.id), delay=HOUR, disable_after=2 * DAY)
    assert hook_row(database, hook).disabled_at is None, "it will be tried again"
    with database.session() as session:
        session.execute(update(WebhookDelivery).values(next_attempt_at=database_now()))
    assert failed(database, taken(database, third.id), delay=None, disable_after=2 * DAY)
    row = hook_row(database, hook)
    assert row.disabled_at is not None
    assert "2 days" in (row.disabled_reason or "")
    assert all(each.next_attempt_at is None for each in deliveries_of(database, hook))


def test_a_receiver_that_is_gone_is_left_alone(database: Database) -> None:
    hook, other = new_hook(database), new_hook(database)
    new_job(database)
    new_job(database)
    first, second = deliveries_of(database, hook)
    assert failed(database, taken(database, first.id), status=410, delay=5)
    row = hook_row(database, hook)
    assert row.disabled_at is not None
    assert "410" in (row.disabled_reason or "")
    assert [each.next_attempt_at for each in deliveries_of(database, hook)] == [None, None]
    assert hook_row(database, other).disabled_at is None
    assert second.id not in due(database)
    assert len(due(database)) == 1


def test_one_of_each_webhook_is_due_at_a_time_longest_waiting_first(database: Database) -> None:
    hooks = [new_hook(database) for _ in range(3)]
    for _ in range(4):
        new_job(database)
    ids = [deliveries_of(database, hook)[0].id for hook in hooks]
    with database.session() as session:
        for seconds, delivery in zip((-30, -10, -20), ids, strict=True):
            session.execute(
                update(WebhookDelivery)
                .where(WebhookDelivery.id == delivery)
                .values(next_attempt_at=database_now(seconds))
            )
    assert due(database) == [ids[0], ids[2], ids[1]]
    assert due(database, limit=1) == [ids[0]]
    assert due(database, busy=(hooks[0],)) == [ids[2], ids[1]]
    assert due(database, busy_projects=(DEFAULT_PROJECT,)) == []
    assert due(database, busy_projects=("proj_x",)) == [ids[0], ids[2], ids[1]]
    with database.session() as session:
        session.execute(
            update(Webhook).where(Webhook.id == hooks[0]).values(failing_since=database_now(-60))
        )
    assert due(database) == [ids[2], ids[1], ids[0]], "one that fails comes behind the others"


def test_what_ended_long_ago_is_removed(database: Database) -> None:
    hook = new_hook(database)
    for _ in range(4):
        new_job(database)
    old, waiting, failing, recent = [row.id for row in deliveries_of(database, hook)]
    with database.session() as session:
        for delivery in (old, recent):
            mine = take(session, delivery, HOUR)
            assert mine is not None
            assert mark_delivered(session, mine, 200)
    assert failed(database, taken(database, failing), delay=None)
    with database.session() as session:
        session.execute(
            update(WebhookDelivery)
            .where(WebhookDelivery.id != recent)
            .values(created_at=database_now(-KEPT_SECONDS - 60))
        )
    with database.session() as session:
        assert tidy(session) == 2
    assert [row.id for row in deliveries_of(database, hook)] == [waiting, recent]


def test_what_a_disabled_webhook_still_has_is_given_up(database: Database) -> None:
    hook = new_hook(database)
    new_job(database)
    with database.session() as session:  # as a change of state in the same moment leaves it
        session.execute(update(Webhook).values(disabled_at=database_now()))
    assert due(database) == []
    with database.session() as session:
        tidy(session)
    [row] = deliveries_of(database, hook)
    assert (row.next_attempt_at, row.error) == (None, "the webhook was disabled")


def test_a_test_event_has_no_job(database: Database) -> None:
    hook = new_hook(database, "failed")
    with database.session() as session:
        for _ in range(2):
            announce_test(session, DEFAULT_PROJECT, hook)
    rows = deliveries_of(database, hook)
    assert [(row.job_id, row.payload["type"]) for row in rows] == [(None, "webhook.test")] * 2
    assert due(database) == [rows[0].id]


def test_pages_of_deliveries(database: Database) -> None:
    hook, other = new_hook(database), new_hook(database)
    for _ in range(5):
        new_job(database)
    seen: list[str] = []
    cursor = None
    while True:
        with database.reading() as session:
            page = list_deliveries(session, DEFAULT_PROJECT, hook, cursor=cursor, limit=2)
        seen += [row.id for row in page.data]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [row.id for row in deliveries_of(database, hook)][::-1]
    with database.reading() as session:
        count = select(func.count()).select_from(WebhookDelivery)
        assert session.scalar(count) == 10
    assert len(deliveries_of(database, other)) == 5
