"""Whether this process can do its work: named checks, each with a time limit of its own."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import text

from api.jobs.notification import WorkerNotifier
from store.database import Database
from store.errors import WrongSchema
from store.schema import check_newest

OK = "ok"
ESSENTIAL = frozenset({"database", "disk"})
"""Without the broker predictions are still answered and jobs still safe, as the sweeper notifies
workers once it is back: a broker that is away must not take this process out of rotation."""
TIMEOUT_SECONDS = 2.0
KEPT_SECONDS = 5.0
PIECE = 4096


class Probe:
    """Looks at something that may hang, in a thread of its own, one look at a time.

    Args:
        look: raises when something is wrong; the error's class is all that is told of it.
        timeout: how long an answer is waited for, in seconds.
        keep: how long an answer is given again, so that asking often costs nothing.
    """

    def __init__(
        self, look: Callable[[], object], *, timeout: float = TIMEOUT_SECONDS, keep: float = 0.0
    ) -> None:
        self._look = look
        self._timeout = timeout
        self._keep = keep
        self._lock = threading.Lock()
        self._done: threading.Event | None = None
        self._began = 0.0
        self._answer = ""
        self._answered = -float("inf")

    def begin(self) -> None:
        """Look, unless the answer is known or somebody looks already."""
        with self._lock:
            if self._done is None and not self._is_fresh():
                self._done, self._began = threading.Event(), time.monotonic()
                # Not of a pool: one that hangs must not keep the process from ending.
                threading.Thread(target=self._run, name="probe", daemon=True).start()

    def answer(self) -> str:
        """`ok`, or in few words what is wrong."""
        self.begin()
        with self._lock:
            done, left = self._done, self._began + self._timeout - time.monotonic()
        if done is not None and not done.wait(max(0.0, left)):
            return f"no answer within {self._timeout:g} s"
        return self._answer

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._answered < self._keep

    def _run(self) -> None:
        try:
            self._look()
            answer = OK
        except (LowSpace, WrongSchema) as error:
            answer = str(error)
        # Drivers raise what they like, and their texts may hold addresses.
        except Exception as error:  # noqa: BLE001
            answer = f"failed ({type(error).__name__})"
        with self._lock:
            assert self._done is not None
            self._answer, self._answered = answer, time.monotonic()
            done, self._done = self._done, None
        done.set()


class LowSpace(Exception):
    """The disk is nearly full."""


class Readiness:
    """The checks of one process.

    Args:
        min_free_bytes: the disk is full when there is less.
    """

    def __init__(
        self, database: Database, notifier: WorkerNotifier, data_dir: Path, min_free_bytes: int
    ) -> None:
        self._database = database
        self._data_dir = data_dir
        self._min_free_bytes = min_free_bytes
        self._probes: Mapping[str, Probe] = {
            "database": Probe(self._read),
            "disk": Probe(self._write, keep=KEPT_SECONDS),
            "broker": Probe(notifier.reach, keep=KEPT_SECONDS),
        }

    def check(self) -> dict[str, str]:
        """The answer of every check; together they take no longer than the slowest."""
        for probe in self._probes.values():
            probe.begin()
        return {name: probe.answer() for name, probe in self._probes.items()}

    def free_bytes(self) -> int:
        """Room on the disk of the data folder."""
        return shutil.disk_usage(self._data_dir).free

    def _read(self) -> None:
        with self._database.reading() as session:
            session.execute(text("SELECT 1 FROM jobs LIMIT 1"))
        check_newest(self._database.revision())

    def _write(self) -> None:
        with tempfile.TemporaryFile(dir=self._data_dir) as file:
            file.write(bytes(PIECE))
            file.flush()
        free = self.free_bytes()
        if free < self._min_free_bytes:
            raise LowSpace(f"{free} bytes free, {self._min_free_bytes} wanted")
