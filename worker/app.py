"""The Celery application: notifications and nothing more.

A message says "look at this job". It is acknowledged before the work begins and has no result,
since the database holds all that matters: a lost message is sent again by the sweeper, and a
doubled one finds the job taken.

The pool is one thread. A forked pool process would get signals of its own and make the trainer a
grandchild; here the process that is told to shut down is the one that holds the job, and it can
stop the trainer, keep its snapshot and give the job back. Nothing heavy runs in the thread, since
training has a process of its own.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from typing import Any

import structlog
from celery import Celery, signals
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from store import logs
from store.artifacts import open_store
from store.database import Database
from store.jobs.workers import Presence
from store.queues import TASK, broker_queue
from store.settings import Settings
from store.sweeper import Sweeper
from worker.alive import alive_file, touch
from worker.devices import devices
from worker.launch import ForkServer
from worker.supervisor import Supervisor

MAILBOX = "worker.mailbox:Transport"
OPTIONS = (
    "--pool=threads",
    "--concurrency=1",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)
MISSED_BEATS = 3
log = structlog.get_logger("worker")


def create_app(settings: Settings) -> Celery:
    """Celery as this project uses it, without the task."""
    app = Celery("carot", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        worker_concurrency=1,
        worker_prefetch_multiplier=1,
        # Otherwise a second job would wait here while another worker is idle.
        worker_disable_prefetch=not settings.embedded_broker,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=settings.broker_transport_options,
    )
    if settings.embedded_broker:
        app.conf.broker_transport = MAILBOX
    return app


def serve(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT; a job in progress is given back with its snapshot."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave_early)
    logs.configure("worker", settings.log_level, settings.log_format)
    # Whoever listens to it has set up logging, and Celery leaves it as it is.
    signals.setup_logging.connect(_logging_is_set_up)
    database = Database(settings.database_url)
    stopping = threading.Event()
    app = create_app(settings)
    fork_server = ForkServer(enabled=settings.warm_trainer)
    supervisor = _supervisor(settings, database, stopping, fork_server)
    presence = _presence(settings)

    @app.task(name=TASK, ignore_result=True)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        # Whichever job is first in line, and then the next: messages may be lost or late.
        log.info("notified", job_id=job_id)
        supervisor.run()

    def notify(job_id: str, queue: str) -> None:
        try:
            app.send_task(
                TASK, args=[job_id], queue=broker_queue(queue), ignore_result=True, retry=False
            )
        except Exception as error:  # noqa: BLE001 - any broker error; the sweeper sends again
            log.warning("notification_failed", job_id=job_id, error=str(error))

    def on_shutdown(**_: Any) -> None:
        stopping.set()

    signals.worker_shutting_down.connect(on_shutdown, weak=False)

    def after_sweep() -> None:
        touch(settings.data_dir)
        presence.beat(database)
        # The lease of a worker that was killed here ends while this one may have nothing to do.
        supervisor.clean_scratch()

    sweeper = Sweeper(database, settings, notify, after=after_sweep)
    try:
        touch(settings.data_dir)
        # The next sweep does both again.
        _try(supervisor.clean_scratch)
        _try(lambda: presence.beat(database))
        sweeper.start()
        fork_server.start()
        queues = ",".join(map(broker_queue, settings.queues))
        app.worker_main(
            ["--quiet", "worker", f"--hostname={_name()}", f"--queues={queues}", *OPTIONS]
        )
    finally:
        stopping.set()
        sweeper.stop()
        fork_server.close()
        _try(lambda: presence.leave(database))
        alive_file(settings.data_dir).unlink(missing_ok=True)
        database.close()


def _leave_early(*_: object) -> None:
    """Stop before Celery has signal handlers of its own: no job is held yet."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    state.should_stop = 0  # Celery asks, should whatever is interrupted swallow the exception
    raise SystemExit


def _supervisor(
    settings: Settings, database: Database, stopping: threading.Event, fork_server: ForkServer
) -> Supervisor:
    return Supervisor(
        settings,
        database,
        open_store(settings, database),
        worker=_name(),
        stopping=stopping,
        fork_server=fork_server,
    )


def _presence(settings: Settings) -> Presence:
    return Presence(
        name=_name(),
        host=socket.gethostname(),
        pid=os.getpid(),
        queues=settings.queues,
        devices=devices(),
        version=_version(),
        # Between two heartbeats lies one sweep, which may take its time.
        silent_after_seconds=max(settings.lease_seconds, MISSED_BEATS * settings.sweep_seconds),
    )


def _try(act: Callable[[], object]) -> None:
    """Log database errors: the worker starts and stops also while the database is away."""
    try:
        act()
    except SQLAlchemyError as error:
        log.warning("database_away", error=str(error))


def _version() -> str:
    try:
        return installed("carot")
    except PackageNotFoundError:
        return "0"


def _logging_is_set_up(**_: Any) -> None:
    pass


def _name() -> str:
    return f"carot-{os.getpid()}@{socket.gethostname()}"
