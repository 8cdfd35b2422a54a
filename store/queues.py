"""Queues: which workers may take a job."""

from __future__ import annotations

from typing import Literal

QueueName = Literal["cpu", "gpu"]
TASK = "carot.run_job"
"""The name of the one task: API and workers know each other by no more than this."""
QUEUES: tuple[QueueName, ...] = ("gpu", "cpu")


def broker_queue(queue: str) -> str:
    """The name under which the broker knows a queue."""
    return f"carot.{queue}"
