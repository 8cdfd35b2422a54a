"""docs/webhooks.md: its receiver takes what the service sends, and nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import httpx
import pytest

from api.settings import ApiSettings
from api.webhooks.signature import headers_of
from store.webhooks.deliveries import KEPT_SECONDS
from store.webhooks.webhooks import MAX_PER_PROJECT
from tests.acceptance.harness import free_port
from tests.api.helpers import Start, context_of
from tests.api.jobs.test_jobs import submit
from tests.api.webhooks.conftest import deliveries
from tests.api.webhooks.receiver import until
from tests.paths import DOCS

PAGE = (DOCS / "webhooks.md").read_text(encoding="utf-8")


def example(language: str) -> str:
    [text] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


@pytest.mark.slow
def test_the_receiver(start: Start) -> None:
    client = start(webhook_allow={"127.0.0.1"}, webhook_poll_seconds=0.02)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    webhook = client.post("/webhooks", json={"url": url}).json()
    environment = {**os.environ, "WEBHOOK_SECRET": webhook["secret"], "PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-c", example("python")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    try:
        until(lambda: answers(url))
        job = submit(client)
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["job.queued", job["id"]]
        path = f"/webhooks/{webhook['id']}/deliveries"
        until(lambda: client.get(path).json()["data"][0]["state"] == "delivered")

        body = json.dumps({"type": "job.failed", "data": {"job": {"id": "again"}}}).encode()
        now = int(time.time())
        genuine = headers_of(webhook["secret"], "msg_1", now, body)
        other = headers_of("whsec_" + "A" * 43 + "=", "msg_1", now, body)
        old = headers_of(webhook["secret"], "msg_1", now - 600, body)
        for headers in ({}, other, old, genuine | {"webhook-id": "msg_2"}):
            assert httpx.post(url, content=body, headers=headers).status_code == 400
        assert httpx.post(url, content=body + b" ", headers=genuine).status_code == 400
        for _ in range(2):  # the second is known by its id
            assert httpx.post(url, content=body, headers=genuine).status_code == 204
        client.post(f"/jobs/{job['id']}/cancel")
        lines = [process.stdout.readline().split() for _ in range(2)]
        assert lines == [["job.failed", "again"], ["job.cancelled", job["id"]]]
    finally:
        process.kill()
        process.communicate(timeout=30)


def answers(url: str) -> bool:
    try:
        return httpx.post(url, content=b"").status_code == 400
    except httpx.TransportError:
        return False


def test_the_message_has_the_fields_of_a_real_one(start: Start) -> None:
    client = start(webhook_allow={"127.0.0.1"})
    webhook = client.post("/webhooks", json={"url": "http://127.0.0.1:9/"}).json()
    submit(client)
    database = context_of(client).database
    [row] = deliveries(database, webhook["id"])
    shown = json.loads(example("json"))
    assert fields(shown) == fields(row.payload)


def fields(document: object) -> object:
    """The names in a document, to any depth."""
    if not isinstance(document, dict):
        return None
    return {name: fields(value) for name, value in document.items()}


def test_every_setting_is_told_with_what_it_is() -> None:
    settings = [name for name in ApiSettings.model_fields if name.startswith("webhook_")]
    named = re.findall(r"^\| `CAROT_(\w+)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in settings)
    defaults = ApiSettings()
    units = {"s": 1, "min": 60, "h": 3600}
    [waits] = re.findall(r"\*\*Retries\*\* after (.*?), each", PAGE)
    told = [int(n) * units[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", waits)]
    assert told == list(defaults.webhook_retry_seconds)
    assert defaults.webhook_timeout_seconds == 5
    assert defaults.webhook_disable_seconds == 3 * 86_400
    assert f"at most {MAX_PER_PROJECT} webhooks" in PAGE
    assert f"kept for {KEPT_SECONDS / 86_400:.0f} days" in PAGE
