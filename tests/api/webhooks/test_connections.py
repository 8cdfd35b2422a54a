"""Where the sender connects to, and whom it takes for whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trustme

from store.database import Database
from tests.api.webhooks.conftest import (
    NAME,
    StartSender,
    hook,
    new_job,
    sent_once,
    server_context,
    settled,
    url_of,
)
from tests.api.webhooks.receiver import answer, receiver


def test_a_name_that_leads_elsewhere_by_now_is_not_called(
    database: Database, start_sender: StartSender
) -> None:
    with receiver() as running:
        # Taken when it was public, say; now it leads to this machine, which is not allowed.
        webhook = hook(database, f"https://rebound.example:{running.port}/")
        new_job(database)
        start_sender(webhook_allow=set(), webhook_retry_seconds=())
        [row] = settled(database, webhook)
        assert running.received == []
    assert "not a public one" in (row.error or "")
    assert "127.0.0.1" not in (row.error or "")


def test_proxies_of_the_environment_are_not_asked(
    database: Database, start_sender: StartSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as proxy, receiver() as running:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        row = sent_once(database, start_sender, running)
        assert proxy.received == []
        assert len(running.received) == 1
    assert row.status == 204


def test_cookies_are_not_kept(database: Database, start_sender: StartSender) -> None:
    with receiver() as running:
        running.behave = answer(204, Set_Cookie="track=1")
        webhook = hook(database, url_of(running))
        for _ in range(3):
            new_job(database)
        start_sender()
        settled(database, webhook)
    assert [each for each in running.received if "cookie" in each.headers] == []


def test_tls_asks_for_the_certificate_of_the_name(
    database: Database, start_sender: StartSender, authority: tuple[trustme.CA, Path]
) -> None:
    certificates, file = authority
    with receiver(server_context(certificates, NAME)) as running:
        webhook = hook(database, f"https://{NAME.upper()}.:{running.port}/hook")
        new_job(database)
        start_sender(webhook_ca_file=file)
        [row] = settled(database, webhook)
        [received] = running.received
    assert (row.status, row.error) == (204, None)
    assert running.server_names == [NAME]
    assert received.headers["host"] == f"{NAME}:{running.port}"
    assert json.loads(received.body) == received.verified(webhook.secret)


@pytest.mark.parametrize("case", ["another name", "unknown authority"])
def test_certificates_that_prove_nothing(
    database: Database,
    start_sender: StartSender,
    authority: tuple[trustme.CA, Path],
    case: str,
) -> None:
    certificates, file = authority
    name = "other.example.com" if case == "another name" else NAME
    issuer = trustme.CA() if case == "unknown authority" else certificates
    with receiver(server_context(issuer, name, "127.0.0.1")) as running:
        webhook = hook(database, f"https://{NAME}:{running.port}/hook")
        new_job(database)
        start_sender(webhook_ca_file=file, webhook_retry_seconds=())
        [row] = settled(database, webhook)
        assert running.received == []
    assert "certificate verify failed" in (row.error or "").lower()


def test_an_address_has_a_certificate_too(
    database: Database, start_sender: StartSender, authority: tuple[trustme.CA, Path]
) -> None:
    certificates, file = authority
    with receiver(server_context(certificates, "127.0.0.1")) as running:
        webhook = hook(database, f"https://127.0.0.1:{running.port}/hook")
        new_job(database)
        start_sender(webhook_ca_file=file, webhook_retry_seconds=())
        [row] = settled(database, webhook)
    assert (row.status, row.error) == (204, None)
