"""Sends deliveries that are due. Any number of processes may do so at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass

import httpx
import structlog

from api.settings import ApiSettings
from api.web.version import version
from api.webhooks.post import Answer, new_transport, post
from api.webhooks.signature import headers_of
from api.webhooks.targets import TargetRefused, Targets
from store.database import Database
from store.webhooks.deliveries import Taken, find_due, mark_delivered, mark_failed, take, tidy

AT_ONCE = 64
AT_ONCE_PER_PROJECT = 16
AT_ONCE_PER_WEBHOOK = 2
"""A receiver that is slow holds up its own deliveries, and a project with many its own."""
LEASE_SECONDS = 60.0
"""On top of the time of an attempt: to write down how it went, on a database that is busy."""
TIDY_SECONDS = 3600.0
LONGEST_PATIENCE = 86_400.0
JITTER = 0.2
MAX_ERROR = 300
log = structlog.get_logger("api.webhooks")
draw = random.SystemRandom()


@dataclass(frozen=True)
class Outcome:
    """How an attempt went: `error` is empty when the receiver took the message."""

    error: str = ""
    status: int | None = None
    retry_after: float = 0.0


class Sender:
    """A thread that sends what is due until it is stopped."""

    def __init__(self, database: Database, settings: ApiSettings, targets: Targets) -> None:
        self._database = database
        self._settings = settings
        self._targets = targets
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._under_way: dict[asyncio.Task[None], Taken] = {}

    @property
    def is_alive(self) -> bool:
        """Whether it sends."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin sending."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more, and wait for what is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            # Before and behind its loop the thread sees by itself that it is to stop.
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._wake.set)
            self._thread.join(timeout=self._settings.webhook_timeout_seconds + 10)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        tidied = -TIDY_SECONDS
        while not self._stopping.is_set():
            self._wake.clear()
            taken: list[Taken] = []
            # The database is away, with errors of its own; it may be back the next time.
            try:
                if time.monotonic() - tidied > TIDY_SECONDS:
                    await asyncio.to_thread(self._tidy)
                    tidied = time.monotonic()
                taken = await asyncio.to_thread(self._take, list(self._under_way.values()))
            except Exception:
                log.exception("no_deliveries_read")
            for each in taken:
                task = asyncio.create_task(self._deliver(each))
                self._under_way[task] = each
                task.add_done_callback(self._ended)
            if not taken:
                await self._pause()
        await asyncio.gather(*self._under_way)
        if self._transport is not None:
            await self._transport.aclose()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._settings.webhook_poll_seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._wake.set()

    def _tidy(self) -> None:
        with self._database.session() as session:
            tidy(session)

    def _take(self, under_way: list[Taken]) -> list[Taken]:
        free = AT_ONCE - len(under_way)
        if free <= 0:
            return []
        hooks = Counter(each.webhook_id for each in under_way)
        projects = Counter(each.project_id for each in under_way)
        with self._database.reading() as session:
            due = find_due(
                session,
                free,
                busy=[each for each, n in hooks.items() if n >= AT_ONCE_PER_WEBHOOK],
                busy_projects=[each for each, n in projects.items() if n >= AT_ONCE_PER_PROJECT],
            )
        lease = self._settings.webhook_timeout_seconds + LEASE_SECONDS
        taken = []
        for each in due:
            if projects[each.project_id] >= AT_ONCE_PER_PROJECT:
                continue
            with self._database.session() as session:
                mine = take(session, each.id, lease)
            if mine is not None:
                projects[each.project_id] += 1
                taken.append(mine)
        return taken

    async def _deliver(self, taken: Taken) -> None:
        outcome = await self._attempt(taken)
        try:
            await asyncio.to_thread(self._record, taken, outcome)
        # Whatever the database says: the delivery stays due, and is sent again after its lease.
        except Exception:
            log.exception("delivery_not_recorded", delivery=taken.id)

    async def _attempt(self, taken: Taken) -> Outcome:
        seconds = self._settings.webhook_timeout_seconds
        try:
            async with asyncio.timeout(seconds):
                return _judged(await self._post(taken, seconds))
        except TimeoutError:
            return Outcome(f"no answer within {seconds:g} seconds")
        except TargetRefused as refused:
            return Outcome(f"refused: {refused}")
        except httpx.TimeoutException:
            return Outcome(f"no answer within {seconds:g} seconds")
        except (httpx.TransportError, OSError) as error:
            return Outcome(f"no answer: {str(error) or type(error).__name__}"[:MAX_ERROR])
        except Exception as error:
            log.exception("delivery_failed", delivery=taken.id)
            return Outcome(f"could not be sent: {type(error).__name__}")

    async def _post(self, taken: Taken, seconds: float) -> Answer:
        target = await asyncio.wrap_future(self._targets.submit(taken.url))
        if self._transport is None:
            self._transport = new_transport(self._settings.webhook_ca_file)
        body = json.dumps(taken.payload, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"carot/{version()}",
            **headers_of(taken.secret, taken.id, int(time.time()), body),
        }
        return await post(self._transport, target, headers, body, seconds)

    def _record(self, taken: Taken, outcome: Outcome) -> None:
        with self._database.session() as session:
            if not outcome.error and outcome.status is not None:
                mark_delivered(session, taken, outcome.status)
                return
            mark_failed(
                session,
                taken,
                outcome.error,
                status=outcome.status,
                delay=self._delay(taken.attempt, outcome.retry_after),
                disable_after=self._settings.webhook_disable_seconds,
            )
        log.warning(
            "delivery_not_taken",
            delivery=taken.id,
            webhook=taken.webhook_id,
            attempt=taken.attempt,
            error=outcome.error,
        )

    def _delay(self, attempt: int, retry_after: float) -> float | None:
        """Seconds until the next attempt; None after the last."""
        table = self._settings.webhook_retry_seconds
        if attempt > len(table):
            return None
        # Receivers that fail together are not all called again in the same second.
        wait = table[attempt - 1] * draw.uniform(1 - JITTER, 1 + JITTER)
        return max(wait, min(retry_after, LONGEST_PATIENCE))


def _judged(answer: Answer) -> Outcome:
    if 200 <= answer.status < 300:
        return Outcome(status=answer.status)
    error = f"the receiver answered {answer.status}"
    if 300 <= answer.status < 400:
        error += "; redirects are not followed"
    return Outcome(error, answer.status, answer.retry_after)
