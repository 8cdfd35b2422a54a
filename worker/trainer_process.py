"""The trainer's process, in a group of its own: its output lines, last words and exit."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

import structlog

from store.logs import carrying
from worker.child import DONE, FAILED, INTERRUPTED, PARENT
from worker.launch import ForkServer, Spawned, Started, trainer_environment

Command = Callable[[int], Sequence[str]]
COMMAND = (sys.executable, "-m", "worker.child")
RANKS_COMMAND = (sys.executable, "-m", "worker.ranks")
REGULAR = (DONE, FAILED, INTERRUPTED)
"""Statuses with which a trainer ends that did not crash."""
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
        fork_server: has loaded what a trainer loads; None for a new interpreter in any case.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        on_line: Callable[[bytes], None],
        fork_server: ForkServer | None = None,
    ) -> None:
        environment = trainer_environment() | {PARENT: str(os.getpid())}
        warm = fork_server is not None and tuple(command) == COMMAND
        self._fork_server = fork_server if warm else None
        forked = fork_server.fork(folder, environment) if fork_server and warm else None
        self._process: Started = forked or Spawned(command, folder, environment)
        self._code: int | None = None
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._kill_at: float | None = None
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
        if self._code is not None:
            return self._code
        if not self._process.has_ended():
            return None
        # Before it is reaped: until then nobody else can get its id.
        self._process.signal(signal.SIGKILL, group=True)
        self._code = self._process.wait()
        for reader in self._readers:
            reader.join(timeout=10)
        if self._fork_server is not None and self._code not in REGULAR:
            self._fork_server.close()  # nothing of a crash is passed on
        return self._code

    def stop(self, grace_seconds: float) -> None:
        """Ask it to stop; `poll` kills it once the grace is over. Asking again changes nothing."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + grace_seconds
            # To the trainer alone: its data loaders would make their own end an error of its.
            self._process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole group at once."""
        self._process.signal(signal.SIGKILL, group=True)

    def close(self) -> None:
        """Kill what still runs and reap it."""
        self.kill()
        while self.poll() is None:
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of its standard error."""
        return "\n".join(self._tail)

    def _note(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            log.info("trainer", pid=self.pid, line=text[:TAIL_WIDTH])
            self._tail.append(text[:TAIL_WIDTH])


def _each_line(stream: IO[bytes], handle: Callable[[bytes], None]) -> None:
    with stream:
        while line := stream.readline(MAX_LINE):
            handle(line)
