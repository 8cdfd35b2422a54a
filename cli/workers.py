"""`carot workers`: the workers that can take jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli.client import Client
from cli.options import DEFAULT_URL, AsJson, Url
from cli.output import duration, emit, out, size, table


def workers(
    limit: Annotated[int, typer.Option(min=1)] = 50, url: Url = DEFAULT_URL, as_json: AsJson = False
) -> None:
    """Workers of the last day: their GPUs, their jobs, and their last heartbeats."""
    with Client(url) as client:
        found = client.pages("/workers", limit=limit)
    if as_json:
        emit(found)
        return
    now = datetime.now(UTC)
    rows = [
        (
            each["name"],
            each["state"],
            each["job_id"],
            ", ".join(each["queues"]),
            ", ".join(map(_device, each["devices"])) or None,
            duration(
                max(0.0, (now - datetime.fromisoformat(each["heartbeat_at"])).total_seconds())
            ),
            each["version"],
        )
        for each in found
    ]
    columns = ("name", "state", "job", "queues", "GPUs", ">last heartbeat, ago", "version")
    out.print(table(None, columns, rows))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _device(device: dict[str, Any]) -> str:
    memory = device["memory_bytes"]
    return device["name"] if memory is None else f"{device['name']} ({size(memory)})"
