"""`carot webhooks`: create, list, test, enable, delete, and what was sent."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from cli.client import Client
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import emit, err, out, table

app = typer.Typer(
    help="Notifications of jobs that change their state and of miscalibrated models.",
    no_args_is_help=True,
)
WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="A webhook's id.")]
Limit = Annotated[int, typer.Option(min=1)]


@app.command()
def create(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="URL that events are sent to.")],
    states: Annotated[
        list[str] | None,
        typer.Option("--state", help="A state to be notified of, repeatable; by default all."),
    ] = None,
    events: Annotated[
        list[str] | None,
        typer.Option("--event", help="`job` or `calibration.alert`, repeatable; by default both."),
    ] = None,
    url: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Send an event to a URL whenever a job changes its state; prints the secret, once."""
    body = {"url": target, "states": states or [], "events": events or []}
    with Client(url) as client:
        # Should the answer get lost, the same key again gives the same secret.
        webhook = client.post("/webhooks", body, key=uuid.uuid4().hex)
    if as_json:
        emit(webhook)
        return
    rows = [(name, webhook[name]) for name in ("id", "url", "secret")]
    out.print(table(None, ("", ""), rows))
    err.print("The secret is not shown again.")


@app.command("list")
def list_(limit: Limit = 50, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """The webhooks, newest first."""
    with Client(url) as client:
        webhooks = client.pages("/webhooks", limit=limit)
    if as_json:
        emit(webhooks)
        return
    rows = [
        (w["id"], w["url"], ", ".join(w["states"]) or "all", w["disabled_reason"]) for w in webhooks
    ]
    out.print(table(None, ("id", "url", "states", "disabled"), rows))


@app.command("test")
def try_(webhook: WebhookId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Send a test event; `deliveries` shows how it went."""
    with Client(url) as client:
        delivery = client.post(f"/webhooks/{webhook}/test")
    if as_json:
        emit(delivery)
        return
    out.print(f"{delivery['id']} is queued", highlight=False)


@app.command()
def enable(webhook: WebhookId, url: Url = DEFAULT_URL, as_json: AsJson = False) -> None:
    """Enable a webhook that was disabled; it gets the events from now on."""
    with Client(url) as client:
        document = client.post(f"/webhooks/{webhook}/enable")
    if as_json:
        emit(document)
        return
    out.print(f"{document['id']} is enabled", highlight=False)


@app.command()
def delete(webhook: WebhookId, url: Url = DEFAULT_URL) -> None:
    """Remove a webhook, and the deliveries that wait for it."""
    with Client(url) as client:
        client.delete(f"/webhooks/{webhook}")


@app.command()
def deliveries(
    webhook: WebhookId, limit: Limit = 50, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """What was sent to a webhook, or is to be, newest first."""
    with Client(url) as client:
        found = client.pages(f"/webhooks/{webhook}/deliveries", limit=limit)
    if as_json:
        emit(found)
        return
    # What matters first: a narrow terminal does not show the last ones.
    columns = ("id", "state", "error", ">attempts", ">status", "event", "job", "next attempt")
    keys = ("id", "state", "error", "attempts", "status", "type", "job_id", "next_attempt_at")
    out.print(table(None, columns, [[each[key] for key in keys] for each in found]))
