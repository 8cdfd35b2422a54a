"""Starting a trainer: as a new interpreter, or forked from one that has loaded everything.

Both give a `Started`: a process that leads a session and a group of its own, whose output and
errors can be read.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import structlog

from carot.threads import with_threads
from worker.fork_server import LIMITS

SERVER = (sys.executable, "-m", "worker.fork_server")
SHARED = "CAROT_FORK_SERVER"
"""A variable with the socket of a server that other processes use as well."""
ANSWER_SECONDS = 120.0
"""What a server may take to load everything, for which the first trainer waits."""
log = structlog.get_logger("worker.launch")


class Started(Protocol):
    """A running trainer."""

    @property
    def pid(self) -> int:
        """Also the id of its group."""

    @property
    def stdout(self) -> IO[bytes]:
        """What it says."""

    @property
    def stderr(self) -> IO[bytes]:
        """What else it says."""

    def has_ended(self) -> bool:
        """Whether it has, without reaping it."""

    def wait(self) -> int:
        """Its exit status, negative for a signal."""

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to it or to its whole group; to one that is gone, nothing."""


class Spawned:
    """A new interpreter."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.pid = self._process.pid
        self.stdout: IO[bytes] = self._process.stdout
        self.stderr: IO[bytes] = self._process.stderr

    def has_ended(self) -> bool:
        if self._process.returncode is not None:
            return True
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def wait(self) -> int:
        return self._process.wait()

    def signal(self, number: int, *, group: bool = False) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)


class Forked:
    """A fork of the server, whose child it is: the server reaps it and tells how it ended."""

    def __init__(
        self, connection: socket.socket, pid: int, stdout: IO[bytes], stderr: IO[bytes]
    ) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self._connection = connection
        self._code: int | None = None

    def has_ended(self) -> bool:
        return self._code is not None or self._heard(0.0)

    def wait(self) -> int:
        while self._code is None:
            self._heard(None)
        return self._code

    def signal(self, number: int, *, group: bool = False) -> None:
        if self._code is None:
            with contextlib.suppress(OSError):
                _send(self._connection, {"signal": number, "group": group})

    def _heard(self, seconds: float | None) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            if not selector.select(seconds):
                return False
        # Without a word the server is gone, and the kernel kills its children.
        answer = _read(self._connection)
        self._code = -signal.SIGKILL if answer is None else int(answer["exit"])
        self._connection.close()
        return True


class ForkServer:
    """A server of this process, started when it is first needed and again after a crash.

    It ends with this process, however that ends. `close` ends it, and the trainers it has.

    Args:
        enabled: else every trainer is a new interpreter.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled and sys.platform == "linux"
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None

    def start(self) -> None:
        """Have it load everything, in the background."""
        if self._enabled and SHARED not in os.environ:
            threading.Thread(target=self._start, daemon=True).start()

    def fork(self, folder: Path, environment: Mapping[str, str]) -> Forked | None:
        """A trainer of the spec in `folder`; None where it has to be a new interpreter."""
        if not self._enabled:
            return None
        try:
            with self._lock:
                address = os.environ.get(SHARED) or str(self._socket())
            return _fork(address, folder, environment)
        except (OSError, ValueError) as error:
            log.warning("fork_server_failed", error=repr(error))
            self.close()
            return None

    def close(self) -> None:
        """End it; the next fork starts another one."""
        with self._lock:
            process, self._process = self._process, None
            folder, self._folder = self._folder, None
        if process is not None:
            with process:
                process.kill()
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> None:
        with self._lock, contextlib.suppress(OSError):  # said when it is needed
            self._socket()

    def _socket(self) -> Path:
        if self._process is not None and self._process.poll() is None:
            assert self._folder is not None
            return self._folder / "socket"
        if self._folder is not None:  # of one that ended by itself, or did not start
            shutil.rmtree(self._folder, ignore_errors=True)
        # Not in the data folder: the name of a socket has room for a hundred bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="carot-"))
        self._process, path = start_server(self._folder)
        return path


def start_server(
    folder: Path, environment: Mapping[str, str] = os.environ
) -> tuple[subprocess.Popen[bytes], Path]:
    """A server that listens in `folder`, which only this user may enter; it may still load.

    Raises:
        OSError: it cannot be started, or ended before it listened.
    """
    path = folder / "socket"
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*SERVER, str(path), str(writing)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=trainer_environment(environment),
        start_new_session=True,
        pass_fds=[writing],
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as listening:
        if not listening.read(1):
            with process:  # waits for it, and lets go of its input
                pass
            raise OSError(f"the fork server ended with {process.returncode}")
    return process, path


def trainer_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables, by default of this process, with this project where Python looks for modules."""
    root = str(Path(__file__).parent.parent)
    others = [each for each in environment.get("PYTHONPATH", "").split(os.pathsep) if each != root]
    path = os.pathsep.join(filter(None, (root, *others)))
    return with_threads(environment) | {"PYTHONPATH": path}


def _fork(address: str, folder: Path, environment: Mapping[str, str]) -> Forked | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    pipes = [os.pipe(), os.pipe()]
    try:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(address)
        request = json.dumps(_request(folder, environment)).encode() + b"\n"
        sent = socket.send_fds(connection, [request], [writing for _, writing in pipes])
        connection.sendall(request[sent:])
        answer = _read(connection)
        if answer is None:
            raise OSError("the fork server said nothing")
        if "refused" in answer:
            log.info("not_forked", variable=answer["refused"])
            connection.close()
            return None
        files = [os.fdopen(os.dup(reading), "rb") for reading, _ in pipes]
        return Forked(connection, answer["pid"], *files)
    except BaseException:
        connection.close()
        raise
    finally:
        for pipe in pipes:
            for descriptor in pipe:
                os.close(descriptor)


def _request(folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "folder": str(folder.absolute()),
        "environment": dict(environment),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS},
        "affinity": sorted(os.sched_getaffinity(0)),
    }


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _read(connection: socket.socket) -> dict[str, Any] | None:
    """The next line; None where there is none to come."""
    text = b""
    while not text.endswith(b"\n"):
        try:
            piece = connection.recv(1)  # no more than this line
        except ConnectionError:
            return None
        if not piece:
            return None
        text += piece
    answer: dict[str, Any] = json.loads(text)
    return answer
