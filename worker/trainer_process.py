"""The trainer's process, in a group of its own: its output lines, last words and exit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import structlog

import worker
from store.logs import carrying
from worker.child import PARENT

Command = Callable[[int], Sequence[str]]
COMMAND = (sys.executable, "-m", "worker.child")
RANKS_COMMAND = (sys.executable, "-m", "worker.ranks")
MAX_LINE = 4 << 20
TAIL_LINES = 20
TAIL_WIDTH = 500
log = structlog.get_logger("worker.trainer")


def trainer_command(processes: int) -> tuple[str, ...]:
    """The trainer of a job that asks for so many processes, at least 1; the folder is added."""
    return COMMAND if processes == 1 else (*RANKS_COMMAND, str(processes))


class TrainerProcess:
    """Starts at once. The thread that made it must live as long: to the kernel, that is the parent.

    Args:
        command: to which the folder is added.
        on_line: called in another thread with each line of standard output.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, on_line: Callable[[bytes], None]
    ) -> None:
        root = str(Path(worker.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        environment = os.environ | {PARENT: str(os.getpid()), "PYTHONPATH": path}
        self._process = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._kill_at: float | None = None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=carrying(_each_line), args=(stream, handle), daemon=True)
            for stream, handle in (
                (self._process.stdout, on_line),
                (self._process.stderr, self._note),
            )
        ]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        """Also the id of the process group."""
        return self._process.pid

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._kill_at is not None

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs.

        Once it has ended, so has its whole group, and all its lines were handed on.
        """
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self.kill()
        if self._process.returncode is None and not self._has_ended():
            return None
        # Before it is reaped: until then nobody else can get its id.
        if self._process.returncode is None:
            self._signal_group(signal.SIGKILL)
        code = self._process.wait()
        for reader in self._readers:
            reader.join(timeout=10)
        return code

    def stop(self, grace_seconds: float) -> None:
        """Ask it to stop; `poll` kills it once the grace is over. Asking again changes nothing."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_seconds
            # To the trainer alone: its data loaders would make their own end an error of its.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once."""
        if self._process.returncode is None:
            self._signal_group(signal.SIGKILL)

    def close(self) -> None:
        """Kill what still runs and reap it."""
        self.kill()
        while self.poll() is None:
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of its standard error."""
        return "\n".join(self._tail)

    def _has_ended(self) -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            log.info("trainer", pid=self.pid, line=text[:TAIL_WIDTH])
            self._tail.append(text[:TAIL_WIDTH])


def _each_line(stream: IO[bytes], handle: Callable[[bytes], None]) -> None:
    with stream:
        while line := stream.readline(MAX_LINE):
            handle(line)
