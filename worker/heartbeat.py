"""Extends the lease, writes the relay's notes to the database, and learns of cancel and pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from store.database import Database
from store.errors import StaleFence
from store.jobs.claims import Claim
from store.jobs.states import JobState
from store.logs import carrying
from store.settings import Settings
from store.tables import Job
from worker.relay import Relay

TICK_SECONDS = 0.3
log = structlog.get_logger("worker")


class Verdict(StrEnum):
    """Why a run must end before its time."""

    CANCELLED = "cancelled"
    PAUSED = "paused"
    TIME_LIMIT = "time_limit"
    STALE = "stale"


class Heartbeat:
    """A thread beside a run; a context manager. A busy trainer never delays it.

    A worker that cannot reach the database for as long as its lease lasts takes the job for lost:
    somebody else may have it by then.

    Attributes:
        verdict: None while the run may go on.
    """

    def __init__(self, database: Database, settings: Settings, held: Claim, relay: Relay) -> None:
        self.verdict: Verdict | None = None
        self._database = database
        self._settings = settings
        self._held = held
        self._relay = relay
        self._stopping = threading.Event()
        self._last_beat = time.monotonic()
        self._thread = threading.Thread(target=carrying(self._run), name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while self.verdict is not Verdict.STALE and not self._stopping.wait(TICK_SECONDS):
            self._try(self._beat)

    def _try(self, beat: Callable[[], None]) -> None:
        try:
            beat()
        except StaleFence:
            self.verdict = Verdict.STALE
        except SQLAlchemyError as error:
            log.warning("no_heartbeat", error=str(error))
            if time.monotonic() - self._last_beat > self._settings.lease_seconds:
                self.verdict = Verdict.STALE

    def _beat(self) -> None:
        began = time.monotonic()
        due = began - self._last_beat >= self._settings.heartbeat_seconds
        state = self._relay.flush(self._database, self._held, self._settings.lease_seconds, due=due)
        if state is not None:
            self._last_beat = began
        else:
            state = self._look()
        if state is JobState.CANCELLING:
            self.verdict = Verdict.CANCELLED
        elif state is JobState.PAUSING:
            self.verdict = Verdict.PAUSED
        elif self._out_of_time():
            self.verdict = Verdict.TIME_LIMIT

    def _out_of_time(self) -> bool:
        limit = self._held.max_seconds
        return limit is not None and self._held.seconds_spent + self._relay.seconds >= limit

    def _look(self) -> JobState:
        """The state, by reading alone, which is cheap enough to do often."""
        with self._database.reading() as session:
            query = select(Job.state).filter_by(id=self._held.job_id, fence=self._held.fence)
            state = session.scalar(query)
        if state is None:
            raise StaleFence(f"{self._held.job_id} was claimed by somebody else")
        return JobState(state)
