"""A process that dies between sending a message and writing down that it did."""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from sqlalchemy import update

from store.database import Database, database_now
from store.tables import WebhookDelivery
from tests.api.webhooks.conftest import StartSender, deliveries, hook, new_job, settled, url_of
from tests.api.webhooks.receiver import answer, receiver
from tests.paths import ROOT

pytestmark = pytest.mark.slow
PROGRAM = """
import json, sys, threading
from api.settings import ApiSettings
from api.web.addresses import Allowed
from api.webhooks.sender import Sender
from api.webhooks.targets import Targets
from store.database import Database

settings = ApiSettings(**json.loads(sys.argv[1]))
targets = Targets(Allowed.of(settings.webhook_allow))
Sender(Database(settings.database_url), settings, targets).start()
threading.Event().wait()
"""


def test_it_is_sent_again_with_the_same_id(
    database: Database, start_sender: StartSender, tmp_path: Path
) -> None:
    settings = {
        "data_dir": str(tmp_path),
        "database_url": database.url.render_as_string(hide_password=False),
        "webhook_allow": ["127.0.0.1"],
        "webhook_poll_seconds": 0.02,
    }
    with receiver() as running:
        command = [sys.executable, "-c", PROGRAM, json.dumps(settings)]

        def kill_the_sender(handler: BaseHTTPRequestHandler) -> None:
            process.kill()
            process.wait(timeout=30)
            answer(200)(handler)

        running.behave = kill_the_sender
        webhook = hook(database, url_of(running))
        new_job(database)
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            running.wait_for(1)
            assert process.wait(timeout=30) == -9
        finally:
            process.kill()
            process.wait(timeout=30)
        [row] = deliveries(database, webhook)
        assert (row.attempts, row.status, row.delivered_at) == (1, None, None)

        running.behave = answer(200)
        start_sender()
        [row] = deliveries(database, webhook)
        assert row.attempts == 1, "it is the dead process's until the lease ends"
        with database.session() as session:  # as time does
            session.execute(update(WebhookDelivery).values(next_attempt_at=database_now(-1)))
        [row] = settled(database, webhook)
    assert (row.attempts, row.status) == (2, 200)
    assert [each.id for each in running.received] == [row.id] * 2
    assert [each.verified(webhook.secret) for each in running.received] == [row.payload] * 2
