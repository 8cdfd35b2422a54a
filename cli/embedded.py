"""The whole service on one machine: an API process and a worker process under one data folder."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO, Self

from cli.client import Client
from cli.output import warn

START_SECONDS = 90.0
STOP_SECONDS = 20.0
AGAIN = 3
"""How often within `AGAIN_SECONDS` a worker that ended is started again."""
AGAIN_SECONDS = 60.0
KEYS = ("CAROT_API_KEY", "CAROT_API_KEY_FILE")
"""Variables for clients, which servers need not know."""
ELSEWHERE = ("CAROT_DATABASE_URL", "CAROT_BROKER_URL", "CAROT_ARTIFACTS_URL")
"""Variables that would make an embedded service use somebody else's servers."""


class CannotStart(Exception):
    """The service cannot be started, or ended on its own. The text is for people."""


class Embedded:
    """Starts on entering, stops on leaving. One per data folder at a time.

    Args:
        data_dir: made when it is not there.
        port: 0 picks a free one.
        private: ignore settings that point at other servers.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        insecure: bool = False,
        private: bool = False,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.host, self.port = host, port
        self.insecure = insecure
        self.private = private
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lost: deque[float] = deque(maxlen=AGAIN)
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where clients reach it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def logs(self) -> Path:
        """Where the processes write what they say."""
        return self.data_dir / "logs"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def check(self) -> None:
        """Raise `CannotStart` when one of the processes has ended on its own."""
        for name, child in self._children.items():
            if child.poll() is not None:
                raise CannotStart(
                    f"the {name} process ended with status {child.returncode}; "
                    f"the end of {self.logs / name}.log:\n{self._tail(name)}"
                )

    def wait(self, announce: Callable[[], None]) -> None:
        """Return on SIGINT or SIGTERM; raise `CannotStart` when a process ends for good.

        A worker that was killed, as it is when memory runs out, is started again, so that models
        stay served and its job goes on.

        Args:
            announce: called once signals are listened for, so that whoever hears of the service
                can also stop it.
        """
        stop = False

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            nonlocal stop
            stop = True

        previous = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            announce()
            while not stop:
                self._keep_worker()
                self.check()
                time.sleep(0.2)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """End both processes, gently first, and wait for them."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, deadline - time.monotonic()))
            # The process itself, or what it left in its group: each has its own session.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self._children.clear()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _start(self) -> None:
        self._take_lock()
        listener = self._listen()
        try:
            environment = self._environment()
            self._migrate()
            api = [sys.executable, "-m", "api", "--fd", str(listener.fileno())]
            self._spawn("api", api, environment, listener.fileno())
            self._spawn_worker()
        finally:
            listener.close()
        self._await_ready()

    def _take_lock(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        # The kernel frees the lock with its holder, so no stale file can ever block a start.
        lock = (self.data_dir / "up.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise CannotStart(
                f"a service is already running on {self.data_dir} ({holder or 'starting'}); "
                "stop it, or name another folder with --data-dir"
            ) from None
        self._lock = lock

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as error:
            listener.close()
            raise CannotStart(
                f"cannot listen on {self.host}:{self.port} ({error.strerror}); "
                "name another port with --port, or 0 for any free one"
            ) from error
        listener.set_inheritable(True)
        self.port = listener.getsockname()[1]
        assert self._lock is not None
        self._lock.seek(0)
        self._lock.truncate()
        self._lock.write(f"process {os.getpid()} at {self.url}")
        self._lock.flush()
        return listener

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        for name in KEYS + (ELSEWHERE if self.private else ()):
            environment.pop(name, None)
        environment |= {
            "CAROT_DATA_DIR": str(self.data_dir),
            "CAROT_HOST": self.host,
            "CAROT_PORT": str(self.port),
            "CAROT_INSECURE": "true" if self.insecure else "false",
            "PYTHONUNBUFFERED": "1",
        }
        return environment

    def _migrate(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from store.database import Database
        from store.errors import WrongSchema
        from store.settings import Settings

        settings = Settings(data_dir=self.data_dir)
        if self.private:
            settings = Settings(data_dir=self.data_dir, database_url="", artifacts_url="")
        database = Database(settings.database_url)
        try:
            database.upgrade()
        except WrongSchema as error:
            raise CannotStart(str(error)) from error
        except SQLAlchemyError as error:
            raise CannotStart(f"the database cannot be prepared: {error}") from error
        finally:
            database.close()

    def _spawn_worker(self) -> None:
        self._spawn("worker", [sys.executable, "-m", "worker"], self._environment())

    def _keep_worker(self) -> None:
        worker = self._children["worker"]
        if not worker.poll():  # it runs, or somebody asked it to end
            return
        now = time.monotonic()
        if len(self._lost) == AGAIN and now - self._lost[0] < AGAIN_SECONDS:
            return  # it would end again; `check` says how it did
        self._lost.append(now)
        warn(
            [
                {
                    "message": f"the worker process ended with status {worker.returncode}",
                    "action": "It is started again, and takes up its job once that is free.",
                }
            ]
        )
        self._spawn_worker()

    def _spawn(
        self, name: str, command: list[str], environment: Mapping[str, str], *fds: int
    ) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Client(self.url) as client:
            while not client.wait_until_ready(0.5):
                self.check()
                if time.monotonic() > deadline:
                    raise CannotStart(
                        f"the service did not get ready within {START_SECONDS:.0f} s; the end of "
                        f"{self.logs / 'api.log'}:\n{self._tail('api')}"
                    )

    def _tail(self, name: str) -> str:
        try:
            lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-15:])


def _end_with_parent() -> None:
    """Have the kernel end this child when its parent dies without a word (Linux)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
