"""The sender against real receivers: what it sends, what it makes of the answers."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import select, update

from api.webhooks.sender import AT_ONCE_PER_PROJECT
from store.database import Database, database_now
from store.ids import new_id
from store.jobs.jobs import cancel_job
from store.tables import DEFAULT_PROJECT, Job, JobEvent, Project, Webhook
from tests.api.webhooks.conftest import (
    StartSender,
    deliveries,
    hook,
    new_job,
    sent_once,
    settled,
    url_of,
)
from tests.api.webhooks.receiver import answer, hang_up, receiver, until

# What is sent ----------------------------------------------------------------------------------


def test_messages_are_signed_as_standard_webhooks_says(
    database: Database, start_sender: StartSender
) -> None:
    with receiver() as running:
        webhook = hook(database, url_of(running, "/hook/ä?key=1&b=%20"))
        job_id = new_job(database)
        with database.session() as session:
            session.execute(update(Job).values(name="größer 🥕"))
            cancel_job(session, DEFAULT_PROJECT, job_id)
        start_sender()
        rows = settled(database, webhook)
        received = running.wait_for(2)
    assert {each.path for each in received} == {"/hook/%C3%A4?key=1&b=%20"}
    messages = {each.id: each.verified(webhook.secret) for each in received}
    assert messages == {row.id: row.payload for row in rows}
    names = [message["data"]["job"]["name"] for message in messages.values()]
    assert "größer 🥕" in names
    first = received[0]
    assert first.headers["content-type"] == "application/json"
    assert first.headers["host"] == f"127.0.0.1:{running.port}"
    assert first.headers["user-agent"].startswith("carot/")
    assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 60
    assert [(row.status, row.attempts, row.error) for row in rows] == [(204, 1, None)] * 2
    other = "whsec_" + webhook.secret[6:][::-1].lstrip("=")
    with pytest.raises(Exception, match="signature"):
        first.verified(other + "=" * (-len(other.removeprefix("whsec_")) % 4))


def test_two_senders_send_each_event_once(database: Database, start_sender: StartSender) -> None:
    with receiver() as running:
        hooks = [hook(database, url_of(running, f"/{i}")) for i in range(3)]
        for _ in range(2):
            start_sender()
        jobs = [new_job(database) for _ in range(6)]
        for job_id in jobs:
            with database.session() as session:
                cancel_job(session, DEFAULT_PROJECT, job_id)
        for webhook in hooks:
            until(lambda w=webhook: len(deliveries(database, w)) == 12)  # type: ignore[misc]
            settled(database, webhook)
        received = running.wait_for(36)
    with database.reading() as session:
        query = select(JobEvent.job_id, JobEvent.seq)
        changes = {(job_id, seq) for job_id, seq in session.execute(query)}
    assert len(changes) == 12
    for webhook in hooks:
        rows = deliveries(database, webhook)
        assert {(row.job_id, row.seq) for row in rows} == changes
        assert {row.attempts for row in rows} == {1}
    assert len(received) == 36
    assert len({each.id for each in received}) == 36


# What is made of the answers -------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_answers_that_are_success(
    database: Database, start_sender: StartSender, status: int
) -> None:
    with receiver() as running:
        running.behave = answer(status)
        row = sent_once(database, start_sender, running)
    assert (row.status, row.error) == (status, None)
    assert row.delivered_at is not None


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_failures_and_nobody_goes_there(
    database: Database, start_sender: StartSender, status: int
) -> None:
    with receiver() as elsewhere, receiver() as running:
        running.behave = answer(status, Location=url_of(elsewhere))
        row = sent_once(database, start_sender, running)
        assert elsewhere.received == []
    assert (row.status, row.delivered_at) == (status, None)
    assert "redirects" in (row.error or "")


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_answers_that_are_failures(
    database: Database, start_sender: StartSender, status: int
) -> None:
    with receiver() as running:
        running.behave = answer(status, b"the database is at 10.0.0.7")
        row = sent_once(database, start_sender, running)
    assert (row.status, row.delivered_at) == (status, None)
    assert row.error == f"the receiver answered {status}", "what it says is kept nowhere"


def test_a_receiver_that_hangs_up(database: Database, start_sender: StartSender) -> None:
    with receiver() as running:
        running.behave = hang_up
        row = sent_once(database, start_sender, running)
    assert (row.status, row.delivered_at) == (None, None)
    assert row.error == "no answer: Server disconnected without sending a response."


def test_nobody_listens(database: Database, start_sender: StartSender) -> None:
    with receiver() as running:
        pass
    row = sent_once(database, start_sender, running)
    assert (row.error or "").startswith("no answer: ")


def test_a_receiver_that_talks_no_http(database: Database, start_sender: StartSender) -> None:
    def babble(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"220 mail.example ESMTP\r\n\r\n")

    with receiver() as running:
        running.behave = babble
        row = sent_once(database, start_sender, running)
    assert (row.status, row.delivered_at) == (None, None)


def test_a_huge_answer_is_not_read(database: Database, start_sender: StartSender) -> None:
    written: list[int] = []
    hung_up = threading.Event()
    block = bytes(1 << 16)

    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        try:
            while sum(written) < 1 << 30:
                handler.wfile.write(block)
                written.append(len(block))
        finally:
            hung_up.set()

    with receiver() as running:
        running.behave = pour
        row = sent_once(database, start_sender, running)
        assert hung_up.wait(30)
    assert (row.status, row.error) == (200, None)
    assert sum(written) < 64 << 20, "what fits into the buffers of two sockets"


def test_endless_headers_are_not_read(database: Database, start_sender: StartSender) -> None:
    def pour(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for i in range(1 << 20):
            handler.wfile.write(b"X-%d: %s\r\n" % (i, bytes(b"x" * 1000)))

    with receiver() as running:
        running.behave = pour
        row = sent_once(database, start_sender, running)
    assert (row.status, row.delivered_at) == (None, None)


def test_a_slow_body_is_not_waited_for(database: Database, start_sender: StartSender) -> None:
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        release.wait(60)

    with receiver() as running:
        running.behave = stall
        row = sent_once(database, start_sender, running)
        release.set()
    assert (row.status, row.error) == (200, None)


def test_an_attempt_has_one_deadline_for_everything(
    database: Database, start_sender: StartSender
) -> None:
    release = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        # No single read takes long; a limit for each of them would never be reached.
        for letter in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 10_000:
            handler.wfile.write(bytes([letter]))
            if release.wait(0.02):
                return

    with receiver() as running:
        running.behave = trickle
        row = sent_once(database, start_sender, running, webhook_timeout_seconds=0.4)
        release.set()
    assert row.error == "no answer within 0.4 seconds"


def test_a_slow_receiver_holds_up_no_other(database: Database, start_sender: StartSender) -> None:
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        release.wait(60)

    with receiver() as slow, receiver() as quick:
        slow.behave = stall
        lame = hook(database, url_of(slow))
        for _ in range(20):
            new_job(database)
        webhook = hook(database, url_of(quick))
        for _ in range(5):
            new_job(database)
        start_sender(webhook_timeout_seconds=60)
        assert len(settled(database, webhook)) == 5
        assert len(quick.received) == 5
        assert not any(row.delivered_at for row in deliveries(database, lame))
        assert len(slow.received) <= 2, "so many at once for one webhook"
        release.set()


def test_a_project_with_many_slow_receivers_holds_up_no_other(
    database: Database, start_sender: StartSender
) -> None:
    release = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        release.wait(60)

    with database.session() as session:
        other = Project(id=new_id("proj"), name="other")
        session.add(other)
    with receiver() as slow, receiver() as quick:
        slow.behave = stall
        lame = [hook(database, url_of(slow)) for _ in range(AT_ONCE_PER_PROJECT)]
        for _ in range(5):
            new_job(database)
        webhook = hook(database, url_of(quick), project=other.id)
        for _ in range(5):
            new_job(database, project=other.id)
        start_sender(webhook_timeout_seconds=60)
        assert len(settled(database, webhook)) == 5
        attempts = [row.attempts for each in lame for row in deliveries(database, each)]
        assert sum(attempts) == AT_ONCE_PER_PROJECT
        release.set()


# Again, and no more ----------------------------------------------------------------------------


def test_a_delivery_is_tried_again_with_the_same_id_until_it_arrives(
    database: Database, start_sender: StartSender
) -> None:
    outcomes = iter([hang_up, answer(500), answer(200)])

    def in_turn(handler: BaseHTTPRequestHandler) -> None:
        next(outcomes)(handler)

    with receiver() as running:
        running.behave = in_turn
        webhook = hook(database, url_of(running))
        new_job(database)
        start_sender()
        [row] = settled(database, webhook)
    assert (row.attempts, row.status, row.error) == (3, 200, None)
    assert [each.id for each in running.received] == [row.id] * 3
    assert {each.body for each in running.received} == {running.received[0].body}
    for each in running.received:
        assert each.verified(webhook.secret) == row.payload


def test_after_the_last_wait_of_the_table_it_is_given_up(
    database: Database, start_sender: StartSender
) -> None:
    with receiver() as running:
        running.behave = answer(500)
        webhook = hook(database, url_of(running))
        new_job(database)
        start_sender(webhook_retry_seconds=(0.0, 0.0))
        [row] = settled(database, webhook)
    assert (row.attempts, len(running.received)) == (3, 3)
    assert (row.status, row.error) == (500, "the receiver answered 500")


def test_waits_are_those_of_the_table_give_or_take_a_fifth(
    database: Database, start_sender: StartSender
) -> None:
    webhook = hook(database, "http://127.0.0.1:9/")
    for _ in range(20):
        new_job(database)
    start_sender(webhook_retry_seconds=(1000.0,))
    until(lambda: all(row.error for row in deliveries(database, webhook)))
    with database.reading() as session:
        now = session.scalars(select(database_now())).one()
    waits = [(row.next_attempt_at - now).total_seconds() for row in deliveries(database, webhook)]
    assert 700 < min(waits) < max(waits) < 1201
    assert max(waits) - min(waits) > 50, "they do not all come back at once"


def test_a_receiver_that_asks_for_patience_gets_it(
    database: Database, start_sender: StartSender
) -> None:
    with receiver() as running:
        running.behave = answer(429, Retry_After="7200")
        webhook = hook(database, url_of(running))
        new_job(database)
        start_sender()
        until(lambda: bool(deliveries(database, webhook)[0].error))
    [row] = deliveries(database, webhook)
    assert (row.next_attempt_at - row.created_at).total_seconds() > 7000


def test_gone_disables_the_webhook(database: Database, start_sender: StartSender) -> None:
    with receiver() as running:
        running.behave = answer(410)
        webhook = hook(database, url_of(running))
        new_job(database)
        start_sender()
        [row] = settled(database, webhook)
        new_job(database)
    assert (row.attempts, row.status) == (1, 410)
    with database.reading() as session:
        assert session.get_one(Webhook, webhook.id).disabled_at is not None
    assert len(deliveries(database, webhook)) == 1


def test_nothing_but_failures_disable_the_webhook(
    database: Database, start_sender: StartSender
) -> None:
    with receiver() as running:
        running.behave = answer(500)
        webhook = hook(database, url_of(running))
        new_job(database)
        start_sender(webhook_retry_seconds=(), webhook_disable_seconds=0)
        settled(database, webhook)
    with database.reading() as session:
        reason = session.get_one(Webhook, webhook.id).disabled_reason
    assert reason is not None
    assert reason.endswith("the receiver answered 500")


def test_stopping_waits_for_what_is_under_way(
    database: Database, start_sender: StartSender
) -> None:
    release = threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        release.wait(60)
        answer(200)(handler)

    with receiver() as running:
        running.behave = slow
        webhook = hook(database, url_of(running))
        new_job(database)
        sender = start_sender(webhook_timeout_seconds=60)
        running.wait_for(1)
        stopping = threading.Thread(target=sender.stop)
        stopping.start()
        release.set()
        stopping.join(timeout=30)
        assert not sender.is_alive
    [row] = deliveries(database, webhook)
    assert (row.status, row.next_attempt_at) == (200, None)
