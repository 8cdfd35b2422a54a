from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from sqlalchemy import select

from api.settings import ApiSettings
from api.web.addresses import Allowed
from api.webhooks.sender import Sender
from api.webhooks.targets import Targets
from store.database import Database
from store.jobs.jobs import create_job
from store.tables import DEFAULT_PROJECT, Webhook, WebhookDelivery
from store.webhooks.webhooks import create_webhook
from tests.api.rows import SPEC
from tests.api.webhooks.receiver import Receiver, until

StartSender = Callable[..., Sender]
NAME = "hooks.example.com"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


def lookup(host: str, port: int) -> list[str]:
    """Every name leads here."""
    return ["127.0.0.1"]


@pytest.fixture
def start_sender(database: Database, tmp_path: Path) -> Iterator[StartSender]:
    """Starts senders that may call this machine, try again at once, and are stopped at the end."""
    running: list[Sender] = []

    def start(**changes: object) -> Sender:
        chosen = {
            "webhook_allow": {"127.0.0.0/8"},
            "webhook_poll_seconds": 0.02,
            "webhook_retry_seconds": (0.0, 0.0, 0.0),
            **changes,
        }
        settings = ApiSettings(
            data_dir=tmp_path,
            database_url=database.url.render_as_string(hide_password=False),
            **chosen,  # type: ignore[arg-type]
        )
        targets = Targets(Allowed.of(settings.webhook_allow), lookup)
        sender = Sender(database, settings, targets)
        sender.start()
        running.append(sender)
        return sender

    yield start
    for sender in running:
        sender.stop()
        assert not sender.is_alive


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    """A certificate authority, and its certificate as a file."""
    made = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return made, path


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """TLS for a server that has a certificate for these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def hook(database: Database, url: str, *, project: str = DEFAULT_PROJECT) -> Webhook:
    with database.session() as session:
        return create_webhook(session, project, url, [])


def url_of(running: Receiver, path: str = "/hook") -> str:
    return f"http://127.0.0.1:{running.port}{path}"


def new_job(database: Database, project: str = DEFAULT_PROJECT) -> str:
    with database.session() as session:
        return create_job(session, SPEC, project=project).id


def deliveries(database: Database, webhook: Webhook | str) -> list[WebhookDelivery]:
    identity = webhook if isinstance(webhook, str) else webhook.id
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == identity)
    with database.reading() as session:
        return list(session.scalars(query.order_by(WebhookDelivery.id)))


def settled(database: Database, webhook: Webhook) -> list[WebhookDelivery]:
    """Its deliveries, once nothing is on its way."""
    until(lambda: all(row.next_attempt_at is None for row in deliveries(database, webhook)))
    return deliveries(database, webhook)


def sent_once(
    database: Database, start_sender: StartSender, running: Receiver, **settings: object
) -> WebhookDelivery:
    """What became of one delivery that is tried once."""
    webhook = hook(database, url_of(running))
    new_job(database)
    start_sender(webhook_retry_seconds=(), **settings)
    [row] = settled(database, webhook)
    return row
