"""A confined process that decodes what it is sent: started, asked, ended.

What goes through its socket is the business of `carot.data.decoding.decoder_client`, where an event
loop waits for it, and of `carot.data.decoding.thumbnailer_client`, where a thread does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from carot.data.decoding.confinement import command, environment
from carot.data.decoding.decoder_process import ANSWER, MAX_REASON, PIXELS
from carot.data.decoding.images import MAX_PIXELS

START_SECONDS = 60.0
GRACE_SECONDS = 3.0
"""A process's socket closes a moment before the process has a status."""


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding one image may take.

    Attributes:
        memory_bytes: address space of the child, besides what it starts with.
        seconds: wall time from sending the image to its last pixel.
    """

    memory_bytes: int = 1 << 30
    seconds: float = 10.0


class DecoderFailure(Exception):
    """No child can be started. A fault of this machine, and of no image."""


class Child:
    """One process, of a thread or of an event loop, that is started when it is first needed.

    The thread that starts it must live on: to the kernel it is the process's parent, and takes the
    process with it. Others may only call `retire` and `close`.
    """

    module: ClassVar[str]
    """What it runs; it says READY, and answers each request behind ANSWER."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()
        self._retired = False

    @property
    def pid(self) -> int | None:
        """The process's id while there is one."""
        process = self._process
        return process.pid if process is not None else None

    def retire(self) -> None:
        """End the process whatever it does, and start no other; waiting calls fail."""
        self._retired = True
        self._end_if_retired()

    def close(self) -> None:
        """End the process; it is reaped on return, also if another thread was about to."""
        self.retire()
        self._end()

    def _launch(self) -> socket.socket:
        """Start the process, which will say READY through this.

        Raises:
            DecoderFailure: retired.
        """
        if self._retired:
            raise DecoderFailure("the image decoder is closed")
        ours, theirs = socket.socketpair()
        arguments = (str(os.getpid()), str(self._limits.memory_bytes))
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command(self.module, *arguments),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=environment(),
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        self._end_if_retired()  # meanwhile, by another thread, which saw no process
        return ours

    def _end_if_retired(self) -> None:
        process = self._process
        if self._retired and process is not None:
            process.kill()

    def _has_died(self) -> bool:
        """Whether the process has ended on its own."""
        process = self._process
        return process is not None and process.poll() is not None

    def _end(self, grace: float = 0.0) -> int | None:
        """Kill and reap; its exit status, negative for a signal, if it ended on its own.

        Args:
            grace: seconds to wait first.
        """
        with self._ending:
            process = self._process
            if process is None:
                return None
            try:
                return process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                return None
            finally:
                self._process = None  # until now `retire` can cut the grace short


def did_not_start(code: int | None) -> DecoderFailure:
    """Instead of READY nothing came."""
    return DecoderFailure(f"the image decoder did not start (exit status {code})")


def takes_too_long(limits: DecodeLimits) -> str:
    """The reason why an image is given up."""
    return f"decoding it takes longer than {limits.seconds:g} seconds"


def ends_it(code: int | None) -> str:
    """The reason why an image is unreadable that the process did not survive."""
    how = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit status {code})"
    return f"it ends the decoder{how}"


def answer_of(head: bytes, fits: Callable[[int, int], bool]) -> tuple[int, int, int, bool]:
    """Width, height, bytes that follow, and whether those are pixels or else a reason.

    Args:
        fits: whether pixels of a width and height are what was asked for.

    Raises:
        ConnectionError: it is no answer to the question.
    """
    status, width, height, size = ANSWER.unpack(head)
    if status != PIXELS:
        if size > 4 * MAX_REASON:
            raise ConnectionError("a reason without end")
        return 0, 0, size, False
    if not fits(width, height) or size != 3 * width * height or size > 3 * MAX_PIXELS:
        raise ConnectionError("an answer that does not fit the question")
    return width, height, size, True
