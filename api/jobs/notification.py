"""Notifies workers of a job, after its row is committed.

A broker that is away is no error: the sweeper tells them again.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from store.queues import TASK, broker_queue
from store.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

log = structlog.get_logger("api.jobs.notification")


class WorkerNotifier:
    """Sends the task by its name; knows nothing of the worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._producer: Celery | None = None

    def notify(self, job_id: str, queue: str) -> None:
        """Notify a worker that a job waits. Never raises: the job is safe in the database."""
        try:
            self._celery().send_task(
                TASK, args=[job_id], queue=broker_queue(queue), ignore_result=True, retry=False
            )
        # Brokers raise what they like when they are down.
        except Exception as error:  # noqa: BLE001
            log.warning("notification_failed", job_id=job_id, error=str(error))

    def prepare(self) -> None:
        """Load what notifying needs, so that the first job does not wait for it."""
        self._celery()

    def reach(self) -> None:
        """Connect to the broker once; raises what its driver does when it cannot be reached."""
        with self._celery().connection_for_write() as connection:
            connection.connect()

    def close(self) -> None:
        """Let go of the broker."""
        if self._producer is not None:
            self._producer.close()

    def _celery(self) -> Celery:
        with self._lock:
            if self._producer is None:
                from celery import Celery

                self._producer = Celery("carot", broker=self._settings.broker_url)
                self._producer.conf.update(
                    task_serializer="json",
                    accept_content=["json"],
                    task_ignore_result=True,
                    broker_transport_options=self._settings.broker_transport_options,
                    broker_connection_timeout=2,
                    broker_connection_max_retries=1,
                )
            return self._producer
